/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A full disk under an archive (promises, fault 27 on the target's side): each message that does not
 * fit gets MH_ELATER with reason "quota", nothing of it stays, and with room the session goes on. */
#include <sched.h>
#include <sys/mount.h>

#include "disk.h"
#include "each_store.h"

static void body(struct rig *r)
{
    enum { N = 40, LEN = 100000 };
    const struct mh_connector *c = file_store_of(r);
    struct mh_endpoint ep;
    struct made m;
    struct verdicts vs;
    struct box box;
    shell(r, "mkdir disk");
    char *mount_at = mh_asprintf("%s/disk", r->dir);
    /* In a mount namespace of this process: it goes with the process, however that ends. */
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", mount_at, "tmpfs", 0, "size=2m") < 0) {
        mh_free(mount_at);
        cr_skip_test("needs the right to mount a small tmpfs");
    }
    struct mh_session *s = open_disk(r, c, "disk/a", true, &ep);
    make_folder(c, s, "F", MH_ROLE_NONE, &m);
    verdicts_init(&vs, N + 2);
    ASSERT_OK(c->append_open(s, &m.folder, &vs.sink, &err));
    for (uint64_t i = 0; i < N; i++) {
        struct mail mail = {.bytes = bytes_message(LEN, (unsigned)i)};
        ASSERT_OK(send_mail(r, c, s, &mail, i, 30000, &err));
        bytes_free(&mail.bytes);
    }
    ASSERT_OK(c->append_flush(s, &err));
    size_t stored = 0;
    for (size_t i = 0; i < N; i++) {
        stored += vs.v[i].code == 0;
        if (vs.v[i].code) {
            cr_expect_eq(vs.v[i].code, MH_ELATER, "%s", mh_code_name(vs.v[i].code));
            cr_expect_str_eq(vs.v[i].reason, "quota");
        }
    }
    cr_expect(stored > 5 && stored < 21, "%zu stored", stored);
    box_read(c, s, &m.folder, &box);
    cr_expect_eq(box.scan.n, stored);
    for (size_t i = 0; i < box.got.n; i++)
        cr_expect(box.got.v[i].ended && box.got.v[i].bytes.len == (size_t)LEN, "%zu", i);
    box_free(&box);
    char *more = mh_asprintf("mount -o remount,size=8m '%s'", mount_at);
    shell(r, more);
    struct mail mail = {.bytes = bytes_message(LEN, 99)};
    ASSERT_OK(send_mail(r, c, s, &mail, N, 30000, &err));
    ASSERT_OK(c->append_flush(s, &err));
    cr_expect_eq(vs.v[N].code, 0);
    box_read(c, s, &m.folder, &box);
    cr_expect_eq(box.scan.n, stored + 1);
    (void)box_find(&box, (char *)mail.bytes.data, LEN);
    box_free(&box);
    bytes_free(&mail.bytes);
    /* Closed in the middle of a message that partly is on the disk already: nothing of it stays. */
    struct mh_append half = {.octets = 3000000, .cookie = N + 1};
    ASSERT_OK(c->append_begin(s, &half, &err));
    for (int i = 0; i < 30; i++)
        send_slab(r, c, s);
    c->close(s);
    cr_expect_eq(vs.v[N + 1].code, MH_ERETRY);
    shell(r, "test -z \"$(find disk -path '*/tmp/*' -type f; find disk -name '.2*'; "
             "find disk -name '*.journal'; find disk -size +200k ! -name F.mbox)\"");
    ASSERT_OK(c->open(&ep, &r->env, false, &s, &err));
    box_read(c, s, &m.folder, &box);
    cr_expect_eq(box.scan.n, stored + 1);
    box_free(&box);
    c->close(s);
    verdicts_free(&vs);
    made_free(&m);
    mh_endpoint_done(&ep);
    cr_assert_eq(umount(mount_at), 0);
    mh_free(more);
    mh_free(mount_at);
}

EACH_STORE(full_disk, later_and_nothing_half, body)
