/* check_users_file.c - the users file, read as auth reads it */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "config/users_file.h"
#include "postern/check.h"

/* Without mail_uid every line may be wrong: the first ones tell why. */
#define LINES_MAX 20

struct reading {
	struct check *check;
	const char *path;
	size_t skipped;
};

static void skipped(void *ctx, unsigned line, const char *why)
{
	struct reading *r = ctx;

	if (r->skipped++ < LINES_MAX)
		check_report_file(r->check, r->path, line,
		    users_file_remedy(why), "%s; the line is skipped", why);
}

static void parse(struct check *k, const char *path, struct str text)
{
	/* An instance that root does not start has one uid. */
	struct users_rules rules = { .one_uid = geteuid() != 0,
		.mail_root = check_value(k, "virtual_mailbox_base") };
	struct reading r = { .check = k, .path = path };
	struct users_reader reader = { .skipped = skipped, .ctx = &r };
	struct arena *arena = arena_new(users_arena_size(text.n));
	struct map *rows = map_new(false);

	if (users_mail_owner(check_value(k, "mail_uid"), &rules.mail_uid,
		&rules.mail_gid) < 0)
		check_report(k, !rules.one_uid, "mail_uid", "make the user "
		    "(sysusers.d has postern-mail) or write uid:gid",
		    "no user %s",
		    check_value(k, "mail_uid"));
	if (arena == NULL || rows == NULL || users_file_parse(&rules, text,
		arena, rows, &reader) < 0)
		check_report(k, true, "auth_users_file", NULL,
		    "%s: out of memory", path);
	if (r.skipped > LINES_MAX)
		check_report(k, true, "auth_users_file", NULL, "%s: %zu more "
		    "lines are skipped", path, r.skipped - LINES_MAX);
	if (rows != NULL)
		map_free(&rows, NULL);
	arena_free(&arena);
}

/* One that who runs the check may not read is not judged. */
static void read_lines(struct check *k, const char *path,
    const struct stat *st)
{
	int fd;
	char *text;
	ssize_t n;

	if (st->st_size > USERS_FILE_MAX) {
		check_report(k, true, "auth_users_file", NULL, "%s: %s", path,
		    strerror(EFBIG));
		return;
	}
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		if (errno != EACCES)
			check_report(k, true, "auth_users_file", NULL,
			    "%s: %s", path, strerror(errno));
		return;
	}
	text = malloc((size_t)st->st_size + 1);
	n = text != NULL ? sys_pread_full(fd, text, (size_t)st->st_size, 0)
			 : -1;
	if (n < 0)
		check_report(k, true, "auth_users_file", NULL, "%s: %s", path,
		    strerror(errno));
	else
		parse(k, path, str_n(text, (size_t)n));
	free(text);
	close(fd);
}

void check_users_file(struct check *k)
{
	const char *path = check_value(k, "auth_users_file");
	struct stat st;

	if (*path == '\0')
		return;
	if (stat(path, &st) < 0) {
		if (*check_value(k, "virtual_mailbox_domains") != '\0')
			check_report(k, false, "auth_users_file",
			    "postern user add ADDRESS makes it", "%s: %s",
			    path, strerror(errno));
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		check_report(k, true, "auth_users_file", NULL,
		    "%s is no regular file", path);
		return;
	}
	if (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
		check_report(k, true, "auth_users_file", "chmod 0640 it",
		    "%s holds passwords' hashes and has mode %04o", path,
		    (unsigned)st.st_mode & 07777);
	read_lines(k, path, &st);
}
