/* text.c - a message's text, date and size */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "store/mailbox_int.h"
#include "store/mapped.h"
#include "store/wire.h"

/* Up to here a message is read into memory of ours: cheaper than a mapping. */
#define READ_MAX ((size_t)256 * 1024)
/* What a mailbox object keeps of that between two messages. */
#define KEEP_MAX ((size_t)64 * 1024)

int mailbox_open_file(struct mailbox *mb, uint32_t seq, const char **why_r)
{
	for (int tries = 0; tries < 3; tries++) {
		ssize_t i = mailbox_index(mb, seq);
		const struct uidlist_message *m;
		int fd;

		if (i < 0)
			return store_fail(why_r, ENOENT,
			    "The message was removed");
		m = &mb->list->list[i];
		fd = sys_openat(mailbox_dir_of(mb, m),
		    uidlist_name(mb->list, m).p,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			break;
		if (mb->list->stale)
			return store_fail(why_r, ENOENT,
			    "The mailbox was deleted");
		if (mailbox_look_again(mb, why_r) < 0)
			return -1;
	}
	return store_fail_errno(why_r, "The message cannot be opened");
}

static char *scratch(struct mailbox *mb, size_t n)
{
	if (n > mb->scratch_room) {
		size_t room = (n + 16383) & ~(size_t)16383;

		free(mb->scratch);
		mb->scratch = malloc(room);
		mb->scratch_room = mb->scratch != NULL ? room : 0;
	}
	return mb->scratch;
}

static int read_text(struct mailbox *mb, int fd, size_t n,
    struct mailbox_text *t)
{
	/* One more octet, so that there is memory for an empty file. */
	char *p = scratch(mb, n + 1);
	ssize_t got;

	if (p == NULL || (got = sys_pread_full(fd, p, n, 0)) < 0)
		return -1;
	t->raw = str_n(p, (size_t)got);
	return 0;
}

static int64_t size_in_name(const struct mailbox *mb,
    const struct uidlist_message *m)
{
	struct maildir_name name;

	maildir_name_parse(uidlist_name(mb->list, m), &name);
	return name.wire;
}

/* What we said its size is and what it has must agree. */
static void note_size(struct mailbox *mb, uint32_t seq, uint64_t wire)
{
	struct uidlist_message *m = &mb->list->list[seq - 1];

	if (m->flags & MAILBOX_GONE)
		return;
	if (m->wire == UIDLIST_UNKNOWN)
		m->wire = size_in_name(mb, m);
	if (m->wire == (int64_t)wire)
		return;
	if (m->wire >= 0)
		log_warn("store: %s: the size is %llu, not %lld",
		    uidlist_name(mb->list, m).p, (unsigned long long)wire,
		    (long long)m->wire);
	m->wire = (int64_t)wire;
	mailbox_note_info(mb, m);
}

/* Takes the descriptor. */
static int read_file(struct mailbox *mb, int fd, struct mailbox_text *t)
{
	struct stat st;
	int rc = -1;

	if (fstat(fd, &st) == 0) {
		if (!S_ISREG(st.st_mode) || st.st_size > SSIZE_MAX) {
			errno = EIO;
		} else if ((size_t)st.st_size <= READ_MAX) {
			rc = read_text(mb, fd, (size_t)st.st_size, t);
		} else if ((t->map = mapped_open(fd,
		    (size_t)st.st_size)) != NULL) {
			t->raw = mapped_str(t->map);
			return 0;
		}
	}
	sys_close(fd);
	return rc;
}

int mailbox_text_open(struct mailbox *mb, uint32_t seq,
    struct mailbox_text *t, const char **why_r)
{
	int fd;

	*t = (struct mailbox_text){ .map = NULL };
	if ((fd = mailbox_open_file(mb, seq, why_r)) < 0)
		return -1;
	if (read_file(mb, fd, t) < 0)
		return store_fail_errno(why_r, "The message cannot be read");
	t->wire = wire_size(t->raw);
	if (!mailbox_text_is_whole(t)) {
		mailbox_text_close(mb, t);
		return store_fail(why_r, EIO, "The message was cut while it "
		    "was read");
	}
	note_size(mb, seq, t->wire);
	return 0;
}

bool mailbox_text_is_whole(const struct mailbox_text *t)
{
	return t->map == NULL || mapped_is_whole(t->map);
}

void mailbox_text_close(struct mailbox *mb, struct mailbox_text *t)
{
	mapped_close(&t->map);
	*t = (struct mailbox_text){ .map = NULL };
	if (mb->scratch_room > KEEP_MAX) {
		free(mb->scratch);
		mb->scratch = NULL;
		mb->scratch_room = 0;
	}
}

int mailbox_size(struct mailbox *mb, uint32_t seq, uint64_t *size_r)
{
	ssize_t i = mailbox_index(mb, seq);
	struct uidlist_message *m;
	struct mailbox_text t;

	if (i < 0)
		return -1;
	m = &mb->list->list[i];
	if (m->wire == UIDLIST_UNKNOWN || m->wire < 0)
		m->wire = size_in_name(mb, m);
	if (m->wire < 0) {
		m->wire = UIDLIST_UNKNOWN;
		if (mailbox_text_open(mb, seq, &t, NULL) < 0)
			return -1;
		*size_r = t.wire;
		mailbox_text_close(mb, &t);
		return 0;
	}
	*size_r = (uint64_t)m->wire;
	return 0;
}

int mailbox_date(struct mailbox *mb, uint32_t seq, int64_t *date_r)
{
	for (int tries = 0; tries < 3; tries++) {
		ssize_t i = mailbox_index(mb, seq);
		struct uidlist_message *m;
		struct stat st;

		if (i < 0)
			return -1;
		m = &mb->list->list[i];
		if (m->date == UIDLIST_UNKNOWN) {
			if (fstatat(mailbox_dir_of(mb, m),
			    uidlist_name(mb->list, m).p, &st,
			    AT_SYMLINK_NOFOLLOW) < 0) {
				if (errno != ENOENT || mb->list->stale ||
				    mailbox_look_again(mb, NULL) < 0)
					return -1;
				continue;
			}
			m->date = st.st_mtime;
			*date_r = m->date;
			mailbox_note_info(mb, m);
			return 0;
		}
		*date_r = m->date;
		return 0;
	}
	errno = ENOENT;
	return -1;
}
