/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "mail/endpoint.h"
#include "out_of_memory.h"
#include "scratch.h"

#define DATA(s) (s), sizeof(s) - 1

static char log_lines[4096];

static void keep_log(void *ctx, enum mh_log_level level, const char *line)
{
    (void)ctx, (void)level;
    strncat(log_lines, line, sizeof log_lines - strlen(log_lines) - 2);
    strcat(log_lines, "\n");
}

static void setup(void)
{
    scratch_make();
    mh_log_set_output(keep_log, NULL);
}

TestSuite(mail_secret, .init = setup, .fini = scratch_drop);

/* The path of the new file NAME with DATA; the caller frees it. */
static char *write_file(const char *name, const char *data, size_t len, mode_t mode)
{
    scratch_write(name, data, len, mode);
    return mh_asprintf("%s/%s", scratch_dir, name);
}

/* S gives SECRET; or it is refused (NULL), in words that have SAYS and ABOUT (NULL: anything) in them, the secret
 * not. */
static void expect_secret(const char *name, const struct mh_secret_source *s, const char *secret,
                          const char *says, const char *about)
{
    struct mh_buf out = MH_BUF_INIT;
    struct mh_err err = {0};
    int rc = mh_secret_get(s, &out, &err);
    if (secret) {
        cr_expect_eq(rc, 0, "%s: %s", name, err.text);
        cr_expect_str_eq(mh_buf_str(&out), secret, "%s", name);
    } else {
        cr_expect_eq(rc, MH_EAUTH, "%s", name);
        cr_expect_not_null(strstr(err.text, says), "%s: %s", name, err.text);
        cr_expect(!about || strstr(err.text, about), "%s: %s", name, err.text);
        cr_expect_null(strstr(err.text, "hunter2"), "%s: %s", name, err.text);
        cr_expect_eq(out.len, 0u, "%s", name);
    }
    mh_secret_wipe(&out);
    cr_expect_null(out.data, "%s", name);
}

/* --- files ------------------------------------------------------------------------------------ */

static const struct file_case {
    const char *name;
    const char *data;
    size_t len;
    const char *secret; /* NULL: refused … */
    const char *says;   /* … with this */
} file_cases[] = {
    {"line", DATA("hunter2\n"), "hunter2", NULL},
    {"no line end", DATA("hunter2"), "hunter2", NULL},
    {"CRLF", DATA("hunter2\r\n"), "hunter2", NULL},
    {"first line only", DATA("hunter2\nlogin: anna\n"), "hunter2", NULL},
    {"blanks belong to it", DATA(" hun ter2 \n"), " hun ter2 ", NULL},
    {"a CR inside stays", DATA("hun\rter2\n"), "hun\rter2", NULL},
    {"UTF-8", DATA("p\xc3\xa4ss\n"), "p\xc3\xa4ss", NULL},
    {"empty file", DATA(""), NULL, "is empty"},
    {"empty line", DATA("\nhunter2\n"), NULL, "is empty"},
    {"empty CRLF line", DATA("\r\n"), NULL, "is empty"},
    {"NUL", DATA("hun\0ter2\n"), NULL, "NUL"},
};

Test(mail_secret, files)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(file_cases); i++) {
        const struct file_case *c = &file_cases[i];
        struct mh_secret_source s = {.file = write_file("pw", c->data, c->len, 0600)};
        expect_secret(c->name, &s, c->secret, c->says, s.file);
        mh_free(s.file);
    }
    cr_expect_str_eq(log_lines, "");
}

static const struct {
    mode_t mode;
    bool warned;
} mode_cases[] = {{0600, false}, {0400, false}, {0640, true}, {0604, true}, {0644, true}};

Test(mail_secret, readable_by_others_is_a_warning)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(mode_cases); i++) {
        struct mh_secret_source s = {.file = write_file("pw", "x\n", 2, mode_cases[i].mode)};
        struct mh_buf out = MH_BUF_INIT;
        log_lines[0] = '\0';
        cr_expect_eq(mh_secret_get(&s, &out, NULL), 0);
        cr_expect_str_eq(mh_buf_str(&out), "x");
        cr_expect_eq(strstr(log_lines, "chmod 600") != NULL, mode_cases[i].warned, "%o: %s",
                     (unsigned)mode_cases[i].mode, log_lines);
        mh_secret_wipe(&out);
        cr_expect_eq(unlink(s.file), 0);
        mh_free(s.file);
    }
}

Test(mail_secret, unreadable_files)
{
    char *big = mh_zalloc(MH_SECRET_MAX_BYTES + 1);
    memset(big, 'x', MH_SECRET_MAX_BYTES + 1);
    char *big_file = write_file("big", big, MH_SECRET_MAX_BYTES + 1, 0600);
    char *missing = mh_asprintf("%s/missing", scratch_dir);
    const struct {
        char *file;
        const char *says;
    } cases[] = {{missing, "No such file"},
                 {scratch_dir, "Is a directory"},
                 {big_file, "that is no password"}};
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_secret_source s = {.file = cases[i].file};
        expect_secret(cases[i].file, &s, NULL, cases[i].says, NULL);
    }
    mh_free(big);
    mh_free(big_file);
    mh_free(missing);
}

/* --- commands --------------------------------------------------------------------------------- */

static const struct command_case {
    const char *name;
    const char *argv[4];
    const char *secret, *says;
} command_cases[] = {
    {"output", {"printf", "hunter2\\n"}, "hunter2", NULL},
    {"found in PATH, arguments as they are", {"printf", "%s", "a b;$HOME"}, "a b;$HOME", NULL},
    {"first line", {"printf", "one\\ntwo\\n"}, "one", NULL},
    {"no shell unless asked for", {"sh", "-c", "printf %s-%s sh ell"}, "sh-ell", NULL},
    {"nothing to read from", {"sh", "-c", "read x; echo \"got:$x\""}, "got:", NULL},
    {"fails", {"false"}, NULL, "failed with exit code 1"},
    {"fails after output", {"sh", "-c", "echo hunter2; exit 3"}, NULL, "exit code 3"},
    {"killed", {"sh", "-c", "kill -9 $$"}, NULL, "signal 9"},
    {"no output", {"true"}, NULL, "is empty"},
    {"empty line", {"echo"}, NULL, "is empty"},
    {"missing", {"/nonexistent/command"}, NULL, "cannot run the password command /nonexistent"},
    {"no such name", {"mh-no-such-command"}, NULL, "No such file"},
    {"endless", {"yes", "hunter2"}, NULL, "that is no password"},
    {"empty", {NULL}, NULL, "command is empty"},
};

Test(mail_secret, commands, .timeout = 60)
{
    for (size_t i = 0; i < MH_ARRAY_LEN(command_cases); i++) {
        const struct command_case *c = &command_cases[i];
        char *argv[4] = {NULL};
        for (size_t j = 0; c->argv[j]; j++)
            argv[j] = (char *)(uintptr_t)c->argv[j];
        struct mh_secret_source s = {.command = argv};
        expect_secret(c->name, &s, c->secret, c->says, NULL);
    }
}

/* No descriptor of ours is open in a command, and none of its own stays with us. */
Test(mail_secret, commands_inherit_and_leave_nothing)
{
    static const char *const argv[] = {"sh", "-c", "ls /proc/$$/fd | tr '\\n' ' '", NULL};
    struct mh_secret_source s = {.command = (char **)(uintptr_t)argv};
    struct mh_buf out = MH_BUF_INIT;
    int first_free = dup(0);
    cr_assert_geq(first_free, 0);
    (void)close(first_free);
    int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(kept, 0);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(mh_secret_get(&s, &out, NULL), 0);
    char own[16];
    (void)snprintf(own, sizeof own, " %d ", kept);
    cr_expect(mh_str_starts(mh_buf_str(&out), "0 1 "), "%s", mh_buf_str(&out));
    cr_expect_null(strstr(mh_buf_str(&out), own), "%s", mh_buf_str(&out));
    (void)close(kept);
    int now_free = dup(0);
    cr_expect_eq(now_free, first_free);
    (void)close(now_free);
    mh_secret_wipe(&out);
}

/* --- values and none -------------------------------------------------------------------------- */

Test(mail_secret, values)
{
    char value[] = "from the environment";
    char empty[] = "";
    const struct {
        struct mh_secret_source s;
        int rc;
        const char *text;
    } cases[] = {
        {{.value = value}, 0, "from the environment"},
        {{.value = empty}, MH_EAUTH, "is empty"},
        {{.value = NULL}, MH_EAUTH, "--source-password-file"},
    };
    for (size_t i = 0; i < MH_ARRAY_LEN(cases); i++) {
        struct mh_buf out = MH_BUF_INIT;
        struct mh_err err = {0};
        mh_buf_adds(&out, "what was there before");
        cr_expect_eq(mh_secret_get(&cases[i].s, &out, &err), cases[i].rc);
        cr_expect_not_null(strstr(cases[i].rc ? err.text : mh_buf_str(&out), cases[i].text), "%s",
                           err.text);
        mh_secret_wipe(&out);
    }
}

Test(mail_secret, out_of_memory_is_an_error)
{
    static const char *const argv[] = {"echo", "x", NULL};
    struct mh_secret_source s = {.command = (char **)(uintptr_t)argv};
    for (struct oom o = {0}; oom_next(&o);) {
        struct mh_buf out = MH_BUF_INIT;
        struct mh_err err = {0};
        oom_begin(&o);
        int rc = mh_secret_get(&s, &out, &err);
        oom_end(&o);
        cr_expect_eq(rc, o.was_reached ? MH_ERUN : 0, "allocation %u: %s", o.nth, err.text);
        mh_secret_wipe(&out);
    }
}
