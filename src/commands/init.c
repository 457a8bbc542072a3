/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailhaul init [FOLDER]: the skeleton of a project. Never overwrites. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "commands/commands.h"
#include "commands/session.h"

static const char project_text[] =
    "version: 1\n"
    "project: {name: my-migration, timezone: Europe/Paris, state: mailhaul.db}\n"
    "\n"
    "# Where the mail is. One login for all mailboxes: admin-user and its password. Without\n"
    "# admin-user each user's own password is needed (users.csv: source_password_file).\n"
    "source:\n"
    "  type: imap\n"
    "  host: imap.old.example\n"
    "  tls: implicit               # implicit | starttls | none\n"
    "  password-file: secrets/{user}.old\n"
    "  connections: 16             # to this server, over all mailboxes\n"
    "\n"
    "# Where it goes.\n"
    "target:\n"
    "  type: imap\n"
    "  host: imap.new.example\n"
    "  tls: implicit\n"
    "  password-file: secrets/{user}.new\n"
    "\n"
    "users: users.csv\n"
    "\n"
    "limits: {memory: 256MiB}\n"
    "policy: {oversize: export-eml, deletions: never}\n"
    "\n"
    "# Rules come before the defaults (roles to roles, everything else to the same name).\n"
    "# map:\n"
    "#   - {role: sent, to: \"@sent\"}\n"
    "#   - {match: \"INBOX.Old/(.+)\", to: \"Archive/$1\"}\n";

static const char users_text[] = "id,source_user,target_user\n"
                                 "anna,anna@old.example,anna@new.example\n";

static const char notes_text[] =
    "1. Fill in mailhaul.yaml and users.csv; put passwords into secrets/ (chmod 600).\n"
    "2. mailhaul check          every login, quota, limit and name, problems first\n"
    "3. mailhaul map            where each folder goes\n"
    "4. mailhaul run --pilot 1  one mailbox, to measure and to look at\n"
    "5. mailhaul run            all of them; run again for what has changed since\n"
    "6. mailhaul verify         the proof\n";

static int write_new(const char *folder, const char *name, const char *text, mode_t mode,
                     struct mh_err *err)
{
    char *path = mh_asprintf("%s/%s", folder, name);
    if (!path)
        return mh_err_nomem(err);
    int code = MH_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        code = errno == EEXIST ? mh_err_set(err, MH_EUSAGE, "init",
                                            "%s is there already; nothing was changed", path)
                               : mh_err_sys(err, MH_EUSAGE, "init", errno, "cannot make %s", path);
    } else {
        size_t len = strlen(text);
        bool ok = write(fd, text, len) == (ssize_t)len;
        ok &= close(fd) == 0;
        if (!ok)
            code = mh_err_sys(err, MH_ERUN, "init", errno, "cannot write %s", path);
    }
    mh_free(path);
    return code;
}

static int is_free(const char *folder, const char *name, struct mh_err *err)
{
    char *path = mh_asprintf("%s/%s", folder, name);
    if (!path)
        return mh_err_nomem(err);
    int code =
        access(path, F_OK) != 0
            ? MH_OK
            : mh_err_set(err, MH_EUSAGE, "init", "%s is there already; nothing was changed", path);
    mh_free(path);
    return code;
}

static int make_folder(const char *path, struct mh_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return mh_err_sys(err, MH_EUSAGE, "init", errno, "cannot make the folder %s", path);
    return MH_OK;
}

int mh_command_init(struct mh_app *app, int argc, char **argv)
{
    static const char *const names[] = {"mailhaul.yaml", "users.csv", "NOTES.txt"};
    static const char *const texts[] = {project_text, users_text, notes_text};
    const char *folder = argc > 0 ? argv[0] : ".";
    struct mh_err err;
    mh_err_reset(&err);
    int code = argc > 1 ? mh_err_set(&err, MH_EUSAGE, "usage", "init takes one folder")
                        : make_folder(folder, &err);
    for (size_t i = 0; code == MH_OK && i < MH_ARRAY_LEN(names); i++)
        code = is_free(folder, names[i], &err);
    for (size_t i = 0; code == MH_OK && i < MH_ARRAY_LEN(names); i++)
        code = write_new(folder, names[i], texts[i], i == 1 ? 0600 : 0644, &err);
    if (code == MH_OK) {
        char *secrets = mh_asprintf("%s/secrets", folder);
        code = secrets ? make_folder(secrets, &err) : mh_err_nomem(&err);
        mh_free(secrets);
    }
    if (code != MH_OK)
        return mh_fail(app, &err);
    if (!app->json)
        (void)fprintf(app->out,
                      "made %s/mailhaul.yaml, users.csv, secrets/ and NOTES.txt; next: fill them "
                      "in, then mailhaul check\n",
                      folder);
    return MH_EXIT_OK;
}
