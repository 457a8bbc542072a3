/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named properties ([MS-PST] 2.4.7): which ids from 0x8000 on stand for which names in this archive.
 *
 * Read once, after the archive was opened; then any thread may ask. Whoever opened it frees it with
 * pst_names_done().
 */
#ifndef MH_PST_NAMES_H
#define MH_PST_NAMES_H

#include "pst/ltp.h"

/* The sets of names that mail knows ([MS-OXPROPS] 1.3.2). */
enum pst_set {
    PST_SET_NONE,
    PST_SET_MAPI,
    PST_SET_PUBLIC_STRINGS,
    PST_SET_COMMON,
    PST_SET_ADDRESS,
    PST_SET_APPOINTMENT,
    PST_SET_MEETING,
    PST_SET_TASK,
    PST_SET_LOG,
    PST_SET_NOTE,
    PST_SET_INTERNET_HEADERS,
    PST_SET_OTHER,
};

struct pst_name {
    uint16_t id; /* 0x8000 and up */
    enum pst_set set;
    uint32_t number; /* its name, where it is a number */
    char *text;      /* its name in UTF-8, where it is a text; NULL; owned */
};

struct pst_names {
    struct pst_name *v; /* owned, by id */
    size_t n, cap;
    struct pst_verdict verdict;
};

/* An archive without a list of names has none; what cannot be read of it is in the verdict. */
int pst_names_read(struct pst_reader *r, struct pst_names *out, struct mh_err *err) MH_MUST_CHECK;
void pst_names_done(struct pst_names *n);

/* The id that the name has here; 0: none. TEXT is compared ASCII case folded. */
unsigned pst_names_number(const struct pst_names *n, enum pst_set set, uint32_t number);
unsigned pst_names_text(const struct pst_names *n, enum pst_set set, const char *text);

#endif
