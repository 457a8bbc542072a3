/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pst_names.h: the named properties that the archives have ([MS-PST] 2.4.7, [MS-OXPROPS]).
 *
 * Memory: constant. Threads: one.
 */
#ifndef MHC_PST_NAMES_H
#define MHC_PST_NAMES_H

#include "pst_prop.h"

/* In the order of their numbers, which begin with 0x8000. */
enum mhc_name {
    MHC_NAME_KEYWORDS,
    MHC_NAME_X_MAILER,
    MHC_NAME_REMINDER_SET,
    MHC_NAME_COMMON_START,
    MHC_NAME_COMMON_END,
    MHC_NAME_FLAG_REQUEST,
    MHC_NAME_PRIVATE,
    MHC_NAME_APPT_START,
    MHC_NAME_APPT_END,
    MHC_NAME_APPT_LOCATION,
    MHC_NAME_APPT_BUSY,
    MHC_NAME_APPT_ALL_DAY,
    MHC_NAME_APPT_RECURRING,
    MHC_NAME_APPT_RECUR,
    MHC_NAME_APPT_STATE,
    MHC_NAME_APPT_TIME_ZONE,
    MHC_NAME_GLOBAL_ID,
    MHC_NAME_TASK_STATUS,
    MHC_NAME_TASK_PERCENT,
    MHC_NAME_TASK_START,
    MHC_NAME_TASK_DUE,
    MHC_NAME_TASK_COMPLETE,
    MHC_NAME_TASK_OWNER,
    MHC_NAME_FILE_AS,
    MHC_NAME_EMAIL1_DISPLAY,
    MHC_NAME_EMAIL1_TYPE,
    MHC_NAME_EMAIL1_ADDRESS,
    MHC_NAME_WORK_STREET,
    MHC_NAME_WORK_CITY,
    MHC_NAME_WORK_ZIP,
    MHC_NAME_WORK_COUNTRY,
    MHC_NAME_LIST_NAME,
    MHC_NAME_LIST_MEMBERS,
    MHC_NAME_LIST_ONE_OFFS,
    MHC_NAME_NOTE_COLOUR,
    MHC_NAME_NOTE_WIDTH,
    MHC_NAME_NOTE_HEIGHT,
    MHC_NAME_LOG_TYPE,
    MHC_NAME_LOG_START,
    MHC_NAME_LOG_DURATION,
    MHC_NAME_LOG_END,
    MHC_NAME_COUNT,
};

/* The tag of a named property whose values have `type`. */
static inline uint32_t mhc_name_tag(enum mhc_name name, unsigned type)
{
    return (0x8000u + (uint32_t)name) << 16 | type;
}

/* The properties of the map itself, node 0x61. */
void mhc_names_put(struct mhc_props *props);

#endif
