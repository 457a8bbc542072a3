/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the frame of the connectors for files does the same for all of them: archives that are not there. */
#include "disk.h"
#include "each_store.h"

/* The session is on nothing: no folders, names as they would be, and nothing is made. */
static void expect_empty(struct disk *d, const char *path)
{
    const struct mh_connector *c = d->c;
    struct mh_folder f = {.path = NULL};
    struct mh_opened opened;
    struct mh_quota q;
    struct mh_err why;
    struct verdicts vs;
    mh_err_reset(&why);
    verdicts_init(&vs, 1);
    (void)disk_list(d, path);
    cr_expect_eq(d->list.n, 0u);
    ASSERT_OK(c->quota(d->s, &q, &err));
    cr_expect(q.known && q.limit_bytes > 0, "the room that it will have");
    ASSERT_OK(c->plan_name(d->s, path, &f.path, &f.native, &err));
    cr_expect_str_eq(f.path, path);
    cr_expect_eq(c->select(d->s, &f, false, &opened, &why), MH_ENOENT, "%s", why.text);
    cr_expect_eq(c->append_open(d->s, &f, &vs.sink, &why), MH_ENOENT, "%s", why.text);
    shell(d->r, "test -z \"$(find . -mindepth 1 ! -name there)\"");
    verdicts_free(&vs);
    mh_free(f.path);
    mh_free(f.native);
}

static const char *const missing[] = {"a", "a/", "a/b", "none/at/all", "./a//b/", "/tmp/"};

static void body_target(struct rig *r)
{
    const struct mh_connector *c = file_store_of(r);
    cr_assert_eq(chdir(r->dir), 0);
    for (size_t i = 0; i < MH_ARRAY_LEN(missing); i++) {
        struct disk d = {.r = r, .c = c, .list = MH_FOLDERS_INIT};
        bool is_absolute = missing[i][0] == '/';
        mh_endpoint_init(&d.ep);
        d.ep.path = is_absolute ? mh_asprintf("%s/a/b", r->dir) : mh_strdup(missing[i]);
        disk_enter(&d, false);
        cr_expect_neq(c->caps(d.s)->separator, '\0');
        expect_empty(&d, "A/B.c");
        disk_close(&d);
    }
}

EACH_STORE(file_store, a_missing_target_that_is_looked_at_is_empty, body_target)

/* A directory that somebody has made for it is as good as none. */
static void body_directory(struct rig *r)
{
    struct disk d;
    shell(r, "mkdir there");
    disk_open(&d, r, file_store_of(r), "there", false);
    expect_empty(&d, "A/B.c");
    disk_close(&d);
}

EACH_STORE(file_store, an_empty_directory_as_target_is_empty, body_directory)

static void body_source(struct rig *r)
{
    static const char *const paths[] = {"none", "none/below", "none.mbox", "none.eml",
                                        "file/below"};
    const struct mh_connector *c = file_store_of(r);
    shell(r, "echo x >file");
    r->env.is_source = true;
    for (size_t i = 0; i < MH_ARRAY_LEN(paths); i++) {
        struct mh_endpoint ep;
        struct mh_session *s = NULL;
        struct mh_err why;
        mh_err_reset(&why);
        mh_endpoint_init(&ep);
        ep.path = mh_asprintf("%s/%s", r->dir, paths[i]);
        cr_expect_eq(c->open(&ep, &r->env, false, &s, &why), MH_EUSAGE, "%s", paths[i]);
        cr_expect_not_null(strstr(why.text, ep.path), "%s", why.text);
        r->env.is_source = strcmp(paths[i], "file/below") != 0;
        cr_expect(r->env.is_source || c->open(&ep, &r->env, false, &s, &why) == MH_EUSAGE,
                  "a target that cannot be made is an error too");
        mh_endpoint_done(&ep);
    }
    shell(r, "test \"$(ls)\" = file");
}

EACH_STORE(file_store, a_missing_source_is_an_error, body_source)

/* What a look at it has planned is what is made then. */
static void body_made_later(struct rig *r)
{
    const struct mh_connector *c = file_store_of(r);
    struct disk d;
    struct made m;
    char *path = NULL;
    char *native = NULL;
    disk_open(&d, r, c, "x/y", false);
    ASSERT_OK(c->plan_name(d.s, "A/v1.2", &path, &native, &err));
    disk_leave(&d);
    disk_enter(&d, true);
    make_folder(c, d.s, "A/v1.2", MH_ROLE_SENT, &m);
    cr_expect_str_eq(m.folder.path, path);
    cr_expect_str_eq(m.folder.native, native);
    disk_leave(&d);
    disk_enter(&d, false);
    const struct mh_folder *f = disk_list(&d, "A/v1.2");
    cr_assert_not_null(f);
    cr_expect_eq(f->role, MH_ROLE_SENT);
    disk_close(&d);
    made_free(&m);
    mh_free(path);
    mh_free(native);
}

EACH_STORE(file_store, what_is_planned_is_made, body_made_later)

/* A path that is to become one mbox file, in a directory that is there and in one that is not. */
static void body_single(struct rig *r)
{
    static const char *const paths[] = {"there/Sent.mbox", "none/Sent.mbox"};
    shell(r, "mkdir there");
    for (size_t i = 0; i < MH_ARRAY_LEN(paths); i++) {
        struct disk d;
        struct mh_err why;
        char *path = NULL;
        char *native = NULL;
        mh_err_reset(&why);
        disk_open(&d, r, &mh_mbox, paths[i], false);
        cr_expect_eq(mh_mbox.caps(d.s)->separator, '\0');
        expect_empty(&d, "Sent");
        cr_expect_eq(mh_mbox.plan_name(d.s, "Other", &path, &native, &why), MH_EFOLDER);
        disk_close(&d);
    }
}

Test(file_store, a_missing_single_file)
{
    rig_run(body_single, NULL);
}
