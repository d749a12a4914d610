#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "store/delivery.h"
#include "store/dirsync.h"
#include "store/place.h"
#include "store/uidlist.h"

#define BUFFER ((size_t)64 * 1024)

struct delivery {
	struct store *store;	/* NULL: opened by delivery_open_in() */
	struct maildir md;	/* the caller's then */
	int fd;
	bool in_tmp;		/* the file is there */
	bool held_cr;		/* the last octet came as CR; LF may follow */
	bool after_cr;		/* the last octet stored was CR */
	bool after_lf;		/* ... was LF */
	uint64_t size, wire;
	size_t n;		/* octets in buffer */
	char tmp[MAILDIR_NAME_MAX + 1];
	char buffer[BUFFER];
};

void delivery_abort(struct delivery **delivery)
{
	struct delivery *d = *delivery;
	int err = errno;

	if (d == NULL)
		return;
	if (d->in_tmp)
		sys_unlinkat(d->md.tmp, d->tmp);
	if (d->fd >= 0)
		sys_close(d->fd);
	if (d->store != NULL)
		maildir_close(&d->md);
	free(d);
	*delivery = NULL;
	errno = err;
}

static struct delivery *new_delivery(void)
{
	/* the buffer is not touched */
	struct delivery *d = malloc(sizeof(*d));

	if (d == NULL)
		return NULL;
	memset(d, 0, offsetof(struct delivery, buffer));
	d->md = (struct maildir){ -1, -1, -1, -1 };
	d->fd = -1;
	return d;
}

/* Frees *d when it fails. */
static int open_tmp(const struct store *s, struct delivery *d,
    struct delivery **delivery_r, const char **why_r)
{
	maildir_unique(s, d->tmp, sizeof(d->tmp));
	d->fd = sys_openat(d->md.tmp, d->tmp,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (d->fd < 0) {
		store_fail_errno(why_r, "The message cannot be stored");
		delivery_abort(&d);
		return -1;
	}
	d->in_tmp = true;
	*delivery_r = d;
	return 0;
}

int delivery_open(struct store *s, struct str mailbox,
    struct delivery **delivery_r, const char **why_r)
{
	struct mbname name;
	struct delivery *d;

	if (mbname_parse(mailbox, &name, why_r) < 0)
		return -1;
	if ((d = new_delivery()) == NULL)
		return store_fail_errno(why_r, "");
	d->store = s;
	if (maildir_open(s, &name, &d->md, why_r) < 0) {
		delivery_abort(&d);
		return -1;
	}
	return open_tmp(s, d, delivery_r, why_r);
}

int delivery_open_in(const struct store *s, const struct maildir *md,
    struct delivery **delivery_r, const char **why_r)
{
	struct delivery *d = new_delivery();

	if (d == NULL)
		return store_fail_errno(why_r, "");
	d->md = *md;
	return open_tmp(s, d, delivery_r, why_r);
}

static int flush(struct delivery *d)
{
	size_t n = d->n;

	d->n = 0;
	return n > 0 ? sys_write_all(d->fd, d->buffer, n) : 0;
}

/* Octets as they are to be stored. */
static int put(struct delivery *d, const char *p, size_t n)
{
	if (n == 0)
		return 0;
	d->size += n;
	d->wire += n;
	d->after_cr = p[n - 1] == '\r';
	d->after_lf = p[n - 1] == '\n';
	while (n > BUFFER - d->n) {
		size_t k = BUFFER - d->n;

		memcpy(d->buffer + d->n, p, k);
		d->n = BUFFER;
		if (flush(d) < 0)
			return -1;
		p += k;
		n -= k;
	}
	memcpy(d->buffer + d->n, p, n);
	d->n += n;
	return 0;
}

static int put_line_end(struct delivery *d)
{
	bool after_cr = d->after_cr;

	if (put(d, "\n", 1) < 0)
		return -1;
	/* As wire.h sends it: a CR before it serves. */
	if (!after_cr)
		d->wire++;
	return 0;
}

static int release_cr(struct delivery *d)
{
	if (!d->held_cr)
		return 0;
	d->held_cr = false;
	return put(d, "\r", 1);
}

int delivery_write(struct delivery *d, struct str s)
{
	while (s.n > 0) {
		const char *nl = memchr(s.p, '\n', s.n);
		size_t k = nl != NULL ? (size_t)(nl - s.p) : s.n;

		/* A CR at the end of a piece waits for what comes next. */
		if (k > 0 && release_cr(d) < 0)
			return -1;
		d->held_cr |= k > 0 && s.p[k - 1] == '\r';
		if (put(d, s.p, k - (k > 0 && d->held_cr)) < 0)
			return -1;
		if (nl != NULL) {
			d->held_cr = false;
			if (put_line_end(d) < 0)
				return -1;
			k++;
		}
		s = str_from(s, k);
	}
	return 0;
}

uint64_t delivery_wire_size(const struct delivery *d)
{
	return d->wire + d->held_cr;
}

static bool whole_lines(const struct delivery *d)
{
	return d->size == 0 ? !d->held_cr : d->after_lf && !d->held_cr;
}

/* All octets, and the date, on stable storage in tmp/. */
static int finish_file(struct delivery *d, int64_t date)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW },
		{ .tv_sec = (time_t)date } };

	if (release_cr(d) < 0 || flush(d) < 0)
		return -1;
	if (date != DELIVERY_DATE_NOW && futimens(d->fd, times) < 0)
		return -1;
	return sys_fsync(d->fd);
}

static void final_base(const struct delivery *d, char *out, size_t size)
{
	snprintf(out, size, "%s,S=%llu,W=%llu", d->tmp,
	    (unsigned long long)d->size, (unsigned long long)d->wire);
}

int delivery_commit(struct delivery **delivery, const char **why_r)
{
	struct delivery *d = *delivery;
	char base[MAILDIR_NAME_MAX + 64];
	int rc = -1;

	/* Mail consists of lines: so a reader's counts are exact. */
	if (!whole_lines(d) && delivery_write(d, STR("\n")) < 0)
		store_fail_errno(why_r, "The message cannot be stored");
	else if (finish_file(d, DELIVERY_DATE_NOW) == 0) {
		final_base(d, base, sizeof(base));
		rc = maildir_rename_new(d->md.tmp, d->tmp, d->md.fresh, base);
		d->in_tmp = rc < 0;
		if (rc == 0 && (rc = dirsync(d->md.fresh)) < 0) {
			int err = errno;

			/* Whether it is there after a power cut is open; the
			 * sender is told that it is not, and sends again. */
			sys_unlinkat(d->md.fresh, base);
			errno = err;
		}
	}
	if (rc < 0)
		store_fail_errno(why_r, "The message cannot be stored");
	delivery_abort(delivery);
	return rc;
}

static int append(struct delivery *d, const struct delivery_append *a,
    struct mailbox_copied *placed, const char **why_r)
{
	char base[MAILDIR_NAME_MAX + 64];
	struct str names[MAILBOX_KEYWORDS_MAX] = { STR_NONE };
	struct place_item item = {
		.flags = a->flags & MAILBOX_STORED_FLAGS,
		.date = a->date,
	};

	if (a->date == DELIVERY_DATE_NOW)
		item.date = clock_wall() / CLOCK_SECOND;
	if (finish_file(d, a->date) < 0)
		return store_fail_errno(why_r, "The message cannot be stored");
	final_base(d, base, sizeof(base));
	for (size_t k = 0; k < a->keyword_count &&
	    k < MAILBOX_KEYWORDS_MAX; k++) {
		names[k] = a->keywords[k];
		item.keywords |= 1u << k;
	}
	item.tmp = str_of(d->tmp);
	item.base = str_of(base);
	item.wire = (int64_t)d->wire;
	/* place_messages() leaves nothing in tmp/, whatever happens. */
	d->in_tmp = false;
	return place_messages(d->store, &d->md, &item, 1, names, placed,
	    why_r);
}

int delivery_commit_append(struct delivery **delivery,
    const struct delivery_append *a, uint32_t *uidvalidity_r,
    uint32_t *uid_r, const char **why_r)
{
	struct mailbox_copied placed;
	int rc = append(*delivery, a, &placed, why_r);

	if (rc == 0) {
		*uidvalidity_r = placed.uidvalidity;
		*uid_r = placed.first_uid;
	}
	delivery_abort(delivery);
	return rc;
}
