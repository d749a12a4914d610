/* subscriptions.c - a name a line, as other Maildir++ programs write it */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "store/maildir.h"
#include "store/validity.h"

#define FILE_NAME "subscriptions"
#define FILE_MAX ((size_t)STORE_SUBSCRIPTIONS_MAX * (MBNAME_MAX + 2))

/* The file's octets; none when there is no file. */
static int read_file(const struct store *s, struct buf *b)
{
	/* no waiting for the other end of a FIFO */
	int fd = sys_open_beneath(s->root, FILE_NAME, O_RDONLY | O_NONBLOCK,
	    0);
	struct stat st;
	ssize_t n = -1;
	char *p;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		errno = E2BIG;
		p = buf_reserve(b, (size_t)st.st_size);
		if (p != NULL)
			n = sys_pread_full(fd, p, (size_t)st.st_size, 0);
		if (n >= 0)
			buf_added(b, (size_t)n);
	}
	sys_close(fd);
	return n < 0 ? -1 : 0;
}

static int write_file(const struct store *s, struct str content)
{
	char unique[MAILDIR_NAME_MAX + 1];
	int tmp = sys_open_beneath(s->root, "tmp", O_RDONLY | O_DIRECTORY, 0);
	int fd, rc = -1, err;

	if (tmp < 0)
		return -1;
	maildir_unique(s, unique, sizeof(unique));
	fd = sys_openat(tmp, unique,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		if (sys_write_all(fd, content.p, content.n) == 0 &&
		    sys_fsync(fd) == 0 &&
		    sys_renameat(tmp, unique, s->root, FILE_NAME) == 0)
			rc = sys_fsync(s->root);
		err = errno;
		if (rc < 0)
			sys_unlinkat(tmp, unique);
		sys_close(fd);
		errno = err;
	}
	err = errno;
	sys_close(tmp);
	errno = err;
	return rc;
}

/* The next line that is a mailbox name. */
static bool next_name(struct str *rest, struct mbname *name)
{
	struct str line;

	while (rest->p != NULL && str_split(rest, '\n', &line))
		if (mbname_parse(line, name, NULL) == 0)
			return true;
	return false;
}

int store_subscribe(struct store *s, struct str wire, bool on,
    const char **why_r)
{
	struct mbname name, have;
	struct validity v;
	struct buf old, fresh;
	struct str rest;
	bool found = false;
	size_t count = 0;
	int rc = -1;

	if (mbname_parse(wire, &name, why_r) < 0 ||
	    validity_lock(s, &v, why_r) < 0)
		return -1;
	buf_init(&old, FILE_MAX);
	buf_init(&fresh, FILE_MAX);
	if (read_file(s, &old) < 0) {
		store_fail_errno(why_r, "The subscriptions are not known");
		goto out;
	}
	rest = buf_str(&old);
	while (next_name(&rest, &have)) {
		if (strcmp(have.name, name.name) == 0) {
			found = true;
			if (!on)
				continue;
		}
		count++;
		buf_append_n(&fresh, have.name, have.n);
		buf_append_char(&fresh, '\n');
	}
	if (found == on) {
		rc = 0;
		goto out;
	}
	if (on) {
		count++;
		buf_append_n(&fresh, name.name, name.n);
		buf_append_char(&fresh, '\n');
	}
	if (fresh.failed || count > STORE_SUBSCRIPTIONS_MAX)
		store_fail(why_r, E2BIG, "There are too many subscriptions");
	else if ((rc = write_file(s, buf_str(&fresh))) < 0)
		store_fail_errno(why_r, "The subscription cannot be kept");
out:
	buf_fini(&old);
	buf_fini(&fresh);
	validity_unlock(&v);
	return rc;
}

int store_subscriptions(struct store *s, struct arena *arena,
    struct str **names_r, size_t *count_r, const char **why_r)
{
	struct mbname name;
	struct buf file;
	struct str rest, *names = NULL;
	size_t count = 0, room = 0;
	int rc = -1;

	buf_init(&file, FILE_MAX);
	if (read_file(s, &file) < 0) {
		store_fail_errno(why_r, "The subscriptions are not known");
		goto out;
	}
	rest = buf_str(&file);
	while (next_name(&rest, &name))
		room++;
	if ((names = arena_array(arena, room + 1, sizeof(*names))) == NULL)
		goto no_memory;
	rest = buf_str(&file);
	while (count < room && next_name(&rest, &name)) {
		names[count] = arena_str(arena, str_n(name.name, name.n));
		if (names[count++].p == NULL)
			goto no_memory;
	}
	*names_r = names;
	*count_r = count;
	rc = 0;
	goto out;
no_memory:
	errno = ENOMEM;
	store_fail_errno(why_r, "");
out:
	buf_fini(&file);
	return rc;
}
