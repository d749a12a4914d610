#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/lock.h"
#include "store/maildir.h"
#include "store/validity.h"

#define LINE 64		/* octets of a slot */
#define SLOTS 2
#define LOCK_TRIES 100

static void format_slot(const struct validity *v, char out[LINE + 1])
{
	char text[LINE - 9];
	int n = snprintf(text, sizeof(text), "1 %020" PRIu64 " %010u %010u",
	    v->turn, v->last, v->floor);

	snprintf(out, LINE + 1, "%08x %-*s", crc32c(0, text, (size_t)n),
	    LINE - 10, text);
	out[LINE - 1] = '\n';
}

static void read_slot(struct validity *v, const char *slot)
{
	struct validity got = { .fd = v->fd };
	char text[LINE + 1], again[LINE + 1];

	memcpy(text, slot, LINE);
	text[LINE] = '\0';
	if (sscanf(text, "%*8x 1 %" SCNu64 " %u %u", &got.turn, &got.last,
	    &got.floor) != 3)
		return;
	/* Writing what was read gives the same octets, checksum included, or
	 * the slot is not good. */
	format_slot(&got, again);
	if (memcmp(again, slot, LINE) == 0 && got.turn >= v->turn)
		*v = got;
}

static int write_slot(struct validity *v)
{
	char line[LINE + 1];

	v->turn++;
	format_slot(v, line);
	if (sys_pwrite_all(v->fd, line, LINE,
	    (off_t)(v->turn % SLOTS) * LINE) < 0 || sys_fdatasync(v->fd) < 0)
		return -1;
	return 0;
}

static int open_file(const struct store *s)
{
	int fd = sys_open_beneath(s->root, VALIDITY_FILE, O_RDWR, 0);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = sys_open_beneath(s->root, VALIDITY_FILE, O_RDWR | O_CREAT, 0600);
	if (fd >= 0 && sys_fsync(s->root) < 0) {
		sys_close(fd);
		return -1;
	}
	return fd;
}

static int part_links(const struct store *s, struct validity *v)
{
	int tmp = sys_open_beneath(s->root, "tmp", O_RDONLY | O_DIRECTORY, 0);
	int rc, err;

	if (tmp < 0)
		return -1;
	rc = lock_part_links(s, &v->fd, tmp, s->root, VALIDITY_FILE);
	err = errno;
	sys_close(tmp);
	errno = err;
	return rc;
}

/* Opens and locks the file that has the name, and no other name. */
static int lock_in_place(const struct store *s, struct validity *v)
{
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		if ((v->fd = open_file(s)) < 0 || lock_file(v->fd, 60) < 0)
			return -1;
		switch (lock_look(v->fd, s->root, VALIDITY_FILE)) {
		case LOCK_IN_PLACE:
			return 0;
		case LOCK_LINKED:
			return part_links(s, v);
		case LOCK_REPLACED:
			break;
		}
		sys_close(v->fd);
		v->fd = -1;
	}
	errno = EAGAIN;
	return -1;
}

int validity_lock(const struct store *s, struct validity *v,
    const char **why_r)
{
	char slots[SLOTS * LINE] = "";
	ssize_t n;

	*v = (struct validity){ .fd = -1 };
	if (lock_in_place(s, v) < 0 ||
	    (n = sys_pread_full(v->fd, slots, sizeof(slots), 0)) < 0) {
		store_fail_errno(why_r, "The mailbox list cannot be locked");
		validity_unlock(v);
		return -1;
	}
	for (int i = 0; i < SLOTS && (i + 1) * LINE <= n; i++)
		read_slot(v, slots + i * LINE);
	if (n > 0 && v->turn == 0)
		log_warn("store: %s was damaged; UIDVALIDITY goes on from "
		    "the time", VALIDITY_FILE);
	return 0;
}

void validity_unlock(struct validity *v)
{
	int err = errno;

	if (v->fd >= 0)
		sys_close(v->fd);
	v->fd = -1;
	errno = err;
}

uint32_t validity_next(struct validity *v)
{
	uint64_t now = (uint64_t)(clock_wall() / CLOCK_SECOND);

	if (v->last == UINT32_MAX) {
		errno = EOVERFLOW;
		return 0;
	}
	v->last = now > v->last && now < UINT32_MAX ? (uint32_t)now
	    : v->last + 1;
	return write_slot(v) < 0 ? 0 : v->last;
}

int validity_lose(struct validity *v, uint32_t value)
{
	if (value <= v->floor)
		return 0;
	v->floor = value;
	if (value > v->last)
		v->last = value;
	return write_slot(v);
}
