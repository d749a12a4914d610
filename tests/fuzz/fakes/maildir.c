/* maildir.c - see maildir.h */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "tests/fuzz/fakes/maildir.h"
#include "tests/fuzz/fuzz.h"

static const struct { const char *name, *text; } messages[] = {
	{ "cur/1700000001.M1P1.host:2,",
	    "From: A <a@elsewhere.test>\r\nTo: b@our.test\r\nSubject: one\r\n"
	    "Date: Mon, 1 Jan 2024 10:00:00 +0100\r\n"
	    "Message-ID: <1@elsewhere.test>\r\n\r\nbody one\r\n" },
	{ "cur/1700000002.M2P1.host:2,S",
	    "From: b@our.test\r\nTo: a@elsewhere.test, \"C, D\" <c@d.test>\r\n"
	    "Cc: group: x@y.test;\r\nSubject: =?utf-8?q?z=C3=A4hlt?=\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
	    "boundary=\"b\"\r\n\r\npreamble\r\n--b\r\nContent-Type: "
	    "text/plain; charset=utf-8\r\n\r\ntext \xc3\xa4\r\n--b\r\n"
	    "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nin\r\n"
	    "--b\r\nContent-Type: application/octet-stream\r\n"
	    "Content-Disposition: attachment; filename=x\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n" },
	{ "cur/1700000003.M3P1.host:2,FS", "\r\nno header\r\n" },
	{ "cur/1700000004.M4P1.host:2,DT",
	    "Subject: \xff\xfe \"\\ {3}\r\n\tfolded\r\nBroken\r\n\r\n"
	    ".dot\r\n..two\r\n.\r\nend" },
	{ "new/1700000005.M5P1.host", "Subject: unix\n\nline\n.\nline\n" },
};
_Static_assert(sizeof(messages) / sizeof(messages[0]) == MAILDIR_MESSAGES,
    "messages");

/* UIDVALIDITY and the like are the same every time. */
int64_t __wrap_clock_wall(void);
int64_t __wrap_clock_wall(void)
{
	return 1800000000 * CLOCK_SECOND;
}

static char path[64];
static int root = -1;
static int lowest;	/* descriptor that was free before */

struct str fuzz_maildir_text(size_t i)
{
	return str_of(messages[i].text);
}

static int remove_it(const char *name, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level == 0 && strcmp(name, path) == 0 ? 0 : remove(name);
}

static void clean(void)
{
	nftw(path, remove_it, 16, FTW_DEPTH | FTW_PHYS);
	rmdir(path);
}

struct store *fuzz_maildir_open(void)
{
	const char *dirs[] = { "cur", "new", "tmp" };
	const struct timespec then[2] = { { 1700000000, 0 },
		{ 1700000000, 0 } };
	struct store *s = NULL;
	const char *why = "";

	if (root < 0) {
		snprintf(path, sizeof(path), "%s/postern-fuzz-XXXXXX",
		    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		fuzz_check(mkdtemp(path) != NULL, "no directory");
		atexit(clean);
		root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fuzz_check(root >= 0, "no directory");
	}
	nftw(path, remove_it, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < 3; i++)
		mkdirat(root, dirs[i], 0700);
	for (size_t i = 0; i < MAILDIR_MESSAGES; i++) {
		int fd = openat(root, messages[i].name, O_WRONLY | O_CREAT,
		    0600);
		size_t n = strlen(messages[i].text);

		fuzz_check(write(fd, messages[i].text, n) == (ssize_t)n,
		    "no message");
		futimens(fd, then);
		close(fd);
	}
	lowest = fuzz_next_descriptor();
	fuzz_check(store_open(root, STR("host"), true, &s, &why) == 0, "%s",
	    why);
	return s;
}

void fuzz_maildir_close(struct store **s)
{
	store_close(s);
	fuzz_check(fuzz_next_descriptor() == lowest, "a descriptor is left open");
}
