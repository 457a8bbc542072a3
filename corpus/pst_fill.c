/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pst_fill.h"

#include "pst_kinds.h"
#include "pst_letter.h"

#include <errno.h>
#include <string.h>

/* Outlook's own folders as three languages call them; a program has to know them by their roles. */
static const char *const names[][MHC_ROLE_COUNT] = {
    {[MHC_ROLE_DELETED] = "Deleted Items",
     [MHC_ROLE_INBOX] = "Inbox",
     [MHC_ROLE_OUTBOX] = "Outbox",
     [MHC_ROLE_SENT] = "Sent Items",
     [MHC_ROLE_DRAFTS] = "Drafts",
     [MHC_ROLE_CALENDAR] = "Calendar",
     [MHC_ROLE_CONTACTS] = "Contacts",
     [MHC_ROLE_TASKS] = "Tasks",
     [MHC_ROLE_NOTES] = "Notes",
     [MHC_ROLE_JOURNAL] = "Journal",
     [MHC_ROLE_JUNK] = "Junk E-mail"},
    {[MHC_ROLE_DELETED] = "Gelöschte Elemente",
     [MHC_ROLE_INBOX] = "Posteingang",
     [MHC_ROLE_OUTBOX] = "Postausgang",
     [MHC_ROLE_SENT] = "Gesendete Elemente",
     [MHC_ROLE_DRAFTS] = "Entwürfe",
     [MHC_ROLE_CALENDAR] = "Kalender",
     [MHC_ROLE_CONTACTS] = "Kontakte",
     [MHC_ROLE_TASKS] = "Aufgaben",
     [MHC_ROLE_NOTES] = "Notizen",
     [MHC_ROLE_JOURNAL] = "Journal",
     [MHC_ROLE_JUNK] = "Junk-E-Mail"},
    {[MHC_ROLE_DELETED] = "Éléments supprimés",
     [MHC_ROLE_INBOX] = "Boîte de réception",
     [MHC_ROLE_OUTBOX] = "Boîte d'envoi",
     [MHC_ROLE_SENT] = "Éléments envoyés",
     [MHC_ROLE_DRAFTS] = "Brouillons",
     [MHC_ROLE_CALENDAR] = "Calendrier",
     [MHC_ROLE_CONTACTS] = "Contacts",
     [MHC_ROLE_TASKS] = "Tâches",
     [MHC_ROLE_NOTES] = "Notes",
     [MHC_ROLE_JOURNAL] = "Journal",
     [MHC_ROLE_JUNK] = "Courrier indésirable"},
};

enum {
    FOLDERS_MAX = 1000,
    DEEPEST = 12,
    ARCHIVE_ITEMS = 5000, /* about as many in each folder that has no role */
    DELETED_SHARE = 50,   /* one for so many */
    OTHERS_SHARE = 400,   /* of each other kind one for so many mails */
    OTHERS_LEAST = 3,
};

/* A folder that is to be filled with mails. */
struct target {
    size_t number;
    enum mhc_pst_role role;
    uint32_t share; /* of all shares */
};

struct plan {
    struct target targets[FOLDERS_MAX];
    size_t count;
    uint32_t shares;
    size_t of_role[MHC_ROLE_COUNT];
};

static void add_target(struct plan *plan, size_t number, enum mhc_pst_role role, uint32_t share)
{
    plan->targets[plan->count++] = (struct target){number, role, share};
    plan->shares += share;
}

/* Folders of the owner's own: a deep chain, odd names, one for each few thousand messages. */
static void plan_own_folders(struct plan *plan, struct mhc_pst *pst, uint64_t messages)
{
    static const char *const odd[] = {"Rechnungen/2019", "Rock & Roll <live>", " spaces ", "a.b~c",
                                      "Müller GmbH"};
    struct mhc_buf name = {0};
    size_t parent = MHC_FOLDER_TOP;
    for (int i = 1; i <= DEEPEST; i++) {
        name.len = 0;
        mhc_buf_printf(&name, "Level %d", i);
        parent = mhc_pst_folder(pst, parent, mhc_buf_str(&name), MHC_ROLE_NONE, "IPF.Note");
        add_target(plan, parent, MHC_ROLE_NONE, 3);
    }
    for (size_t i = 0; i < MHC_COUNT(odd); i++) {
        size_t number = mhc_pst_folder(pst, MHC_FOLDER_TOP, odd[i], MHC_ROLE_NONE, "IPF.Note");
        add_target(plan, number, MHC_ROLE_NONE, 10);
    }
    uint64_t own = 1 + messages / ARCHIVE_ITEMS / 3;
    parent = mhc_pst_folder(pst, MHC_FOLDER_TOP, "Archive", MHC_ROLE_NONE, "IPF.Note");
    add_target(plan, parent, MHC_ROLE_NONE, 0);
    for (uint64_t i = 0; i < own && plan->count < FOLDERS_MAX; i++) {
        name.len = 0;
        mhc_buf_printf(&name, "Project %llu", (unsigned long long)i + 1);
        size_t number = mhc_pst_folder(pst, parent, mhc_buf_str(&name), MHC_ROLE_NONE, "IPF.Note");
        add_target(plan, number, MHC_ROLE_NONE, (uint32_t)(300 / own) + 1);
    }
    mhc_buf_done(&name);
}

static void plan_folders(struct plan *plan, struct mhc_pst *pst, const struct mhc_pst_wish *wish)
{
    static const uint32_t shares[MHC_ROLE_COUNT] = {[MHC_ROLE_DELETED] = 40,
                                                    [MHC_ROLE_INBOX] = 400,
                                                    [MHC_ROLE_SENT] = 200,
                                                    [MHC_ROLE_DRAFTS] = 15,
                                                    [MHC_ROLE_JUNK] = 20};
    const char *const *own = names[wish->seed % MHC_COUNT(names)];
    *plan = (struct plan){.count = 0};
    for (unsigned role = MHC_ROLE_DELETED; role < MHC_ROLE_COUNT; role++) {
        size_t number =
            mhc_pst_folder(pst, MHC_FOLDER_TOP, own[role], (enum mhc_pst_role)role, NULL);
        plan->of_role[role] = number;
        add_target(plan, number, (enum mhc_pst_role)role, shares[role]);
    }
    plan_own_folders(plan, pst, wish->messages);
}

static void add_mail(struct mhc_pst *pst, enum mhc_pst_role role, enum mhc_pst_fate fate)
{
    struct mhc_item item;
    mhc_pst_item_begin(pst);
    mhc_pst_letter(pst, &item, role, pst->mails++);
    mhc_pst_add(pst, &item, fate);
}

/* What Outlook keeps of its own in a folder: no mail, whatever it looks like. */
static void add_associated(struct mhc_pst *pst)
{
    struct mhc_item item;
    mhc_pst_item_begin(pst);
    mhc_item_init(&item, pst, "IPM.Configuration.UMOLK.UserOptions", pst->charset, 1500000000);
    mhc_item_subject(&item, "", "IPM.Configuration.UMOLK.UserOptions");
    mhc_props_text(&item.props, 0x3001001f, "options");
    mhc_pst_add(pst, &item, MHC_ITEM_ASSOCIATED);
}

/* Which kinds lie in a folder beside mails. */
static const struct {
    enum mhc_pst_role role;
    enum mhc_pst_kind kind;
} others[] = {
    {MHC_ROLE_CONTACTS, MHC_KIND_CONTACT},     {MHC_ROLE_CONTACTS, MHC_KIND_LIST},
    {MHC_ROLE_CALENDAR, MHC_KIND_APPOINTMENT}, {MHC_ROLE_CALENDAR, MHC_KIND_SERIES},
    {MHC_ROLE_TASKS, MHC_KIND_TASK},           {MHC_ROLE_NOTES, MHC_KIND_NOTE},
    {MHC_ROLE_JOURNAL, MHC_KIND_JOURNAL},      {MHC_ROLE_INBOX, MHC_KIND_MEETING},
    {MHC_ROLE_INBOX, MHC_KIND_SIGNED},         {MHC_ROLE_INBOX, MHC_KIND_ENVELOPED},
    {MHC_ROLE_INBOX, MHC_KIND_REPORT},
};

static void add_others(struct mhc_pst *pst, enum mhc_pst_role role, uint64_t count)
{
    for (size_t k = 0; k < MHC_COUNT(others); k++) {
        for (uint64_t i = 0; others[k].role == role && i < count; i++) {
            struct mhc_item item;
            mhc_pst_item_begin(pst);
            mhc_pst_other(pst, &item, others[k].kind, i);
            mhc_pst_add(pst, &item, MHC_ITEM_KEPT);
        }
    }
}

static void fill_folder(struct mhc_pst *pst, const struct target *t, uint64_t mails,
                        uint64_t other_count)
{
    mhc_pst_folder_begin(pst, t->number);
    add_others(pst, t->role, other_count);
    for (uint64_t i = 0; i < mails; i++) {
        add_mail(pst, t->role, MHC_ITEM_KEPT);
        if (i % DELETED_SHARE == 1) {
            add_mail(pst, t->role, MHC_ITEM_DELETED);
        }
    }
    if (t->role == MHC_ROLE_INBOX) {
        add_associated(pst);
    }
    mhc_pst_folder_end(pst);
}

static void fill(struct mhc_pst *pst, const struct mhc_pst_wish *wish)
{
    struct plan plan;
    uint64_t done = 0;
    uint32_t shares = 0;
    uint64_t other_count = wish->messages > 0 ? OTHERS_LEAST + wish->messages / OTHERS_SHARE : 0;
    plan_folders(&plan, pst, wish);
    for (size_t i = 0; i < plan.count; i++) {
        shares += plan.targets[i].share;
        uint64_t until = wish->messages * shares / plan.shares;
        fill_folder(pst, &plan.targets[i], until - done, other_count);
        done = until;
    }
    mhc_ndb_forget(pst->ndb);
    mhc_pst_finish(pst);
}

static int close_truth(FILE *truth, const char *path, struct mhc_err *err)
{
    bool is_lost = ferror(truth) != 0;
    is_lost = fclose(truth) != 0 || is_lost;
    return is_lost ? mhc_fail(err, MHC_EFAIL, "%s: %s", path, strerror(errno)) : MHC_OK;
}

int mhc_pst_fill(const struct mhc_pst_wish *wish, struct mhc_pst_made *made_out,
                 struct mhc_err *err)
{
    struct mhc_ndb *ndb;
    struct mhc_pst pst;
    FILE *truth = wish->truth != NULL ? fopen(wish->truth, "we") : NULL;
    if (wish->truth != NULL && truth == NULL) {
        return mhc_fail(err, MHC_EFAIL, "%s: %s", wish->truth, strerror(errno));
    }
    int rc = mhc_ndb_open(&ndb, wish->path, wish->format, wish->encoding, err);
    if (rc == MHC_OK) {
        mhc_pst_init(&pst, ndb, wish->seed, truth);
        fill(&pst, wish);
        *made_out = (struct mhc_pst_made){pst.folder_count, pst.items, pst.deleted, 0};
        rc = mhc_ndb_close(ndb, &made_out->bytes, err);
        mhc_pst_done(&pst);
    }
    if (truth != NULL) {
        struct mhc_err truth_err;
        int truth_rc = close_truth(truth, wish->truth, &truth_err);
        if (rc == MHC_OK && truth_rc != MHC_OK) {
            *err = truth_err;
            rc = truth_rc;
        }
    }
    return rc;
}
