/* store.c - the store of a user, and what one asks without selecting */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/sys.h"
#include "store/lock.h"
#include "store/scan.h"

#define MAILDROP_LOCK "postern-maildrop"

/* Letters, digits, '-' and '.' stay; so no ':', '/' or ',' gets in. */
void store_set_host(struct store *s, struct str host)
{
	size_t n = host.n < MAILDIR_HOST_MAX ? host.n : MAILDIR_HOST_MAX;

	for (size_t i = 0; i < n; i++) {
		char c = host.p[i];

		s->host[i] = ascii_is_alpha(c) || ascii_is_digit(c) ||
		    c == '-' || (c == '.' && i > 0) ? c : '_';
	}
	s->host[n] = '\0';
	if (n == 0)
		snprintf(s->host, sizeof(s->host), "localhost");
}

int store_open(int rootfd, struct str host, bool create,
    struct store **store_r, const char **why_r)
{
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return store_fail_errno(why_r, "");
	store_set_host(s, host);
	s->root = fcntl(rootfd, F_DUPFD_CLOEXEC, 3);
	if (s->root < 0 || (create && maildir_make_dirs(s->root, false) < 0)) {
		store_fail_errno(why_r, "The mail directory is not available");
		store_close(&s);
		return -1;
	}
	*store_r = s;
	return 0;
}

void store_close(struct store **store)
{
	int err = errno;

	if (*store == NULL)
		return;
	if ((*store)->root >= 0)
		sys_close((*store)->root);
	free(*store);
	*store = NULL;
	errno = err;
}

int store_exists(struct store *s, struct str name, const char **why_r)
{
	struct mbname parsed;
	int fd;

	if (mbname_parse(name, &parsed, why_r) < 0)
		return -1;
	fd = sys_open_beneath(s->root, parsed.dir,
	    O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0) {
		sys_close(fd);
		return 0;
	}
	if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
		return store_fail(why_r, ENOENT, "There is no such mailbox");
	return store_fail_errno(why_r, "The mailbox is not available");
}

static void count(const struct uidlist *u, struct store_status *st)
{
	*st = (struct store_status){ .uidnext = u->uidnext,
		.uidvalidity = u->validity };
	for (size_t i = 0; i < u->count; i++) {
		const struct uidlist_message *m = &u->list[i];

		if (m->flags & MAILBOX_GONE)
			continue;
		st->messages++;
		st->unseen += !(m->flags & MAILBOX_SEEN);
		st->recent += m->flags & UIDLIST_BORN_RECENT &&
		    m->uid > u->claimed;
	}
}

int store_status(struct store *s, struct str name, struct store_status *st,
    const char **why_r)
{
	struct mbname parsed;
	struct maildir md;
	struct uidlist *u = NULL;
	int rc = -1;

	if (mbname_parse(name, &parsed, why_r) < 0 ||
	    maildir_open(s, &parsed, &md, why_r) < 0)
		return -1;
	if (uidlist_open(s, &md, UIDLIST_ALL, &u, why_r) == 0) {
		rc = scan(u, false, why_r);
		if (rc == 0)
			count(u, st);
		uidlist_close(&u);
	}
	maildir_close(&md);
	return rc;
}

int store_lock_maildrop(struct store *s, int seconds)
{
	int fd = sys_open_beneath(s->root, MAILDROP_LOCK, O_RDWR | O_CREAT,
	    0600);
	int err;

	if (fd < 0)
		return -1;
	if (lock_file(fd, seconds) == 0)
		return fd;
	err = errno == ETIMEDOUT ? EAGAIN : errno;
	sys_close(fd);
	errno = err;
	return -1;
}
