/*
 * deliver_mbox.c - one file for all messages (RFC 4155)
 *
 *   made, empty           the name is synced before anything is in it: by
 *                         whoever finds it empty, as its maker may have died
 *   locked, appending     a crash leaves a part of the message, which qmgr
 *                         has delivered again: a reader sees it cut. The
 *                         next delivery ends its line first, or what comes
 *                         would be a part of it
 *   written and synced    delivered; again if the crash is before the record
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "local/deliver.h"
#include "local/dotlock.h"
#include "service/service.h"

#define PIECE 32768
#define LOCK_PATIENCE (30 * CLOCK_SECOND)

struct mbox {
	int dir, fd;
	const char *path;
	struct dotlock lock;
	off_t before;		/* size, to go back to */
	bool is_mailbox;	/* his own; else a file that was named */
	bool is_foreign;	/* somebody else's */
	uid_t owner;
};

static void nap(void)
{
	struct timespec ts = { 0, 100000000 };

	nanosleep(&ts, NULL);
}

static int lock_file(int fd, int64_t deadline)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -1;
		errno = EAGAIN;
		if (clock_now() > deadline)
			return -1;
		nap();
	}
	return 0;
}

/*
 * A regular file with one name; no link is followed. A mailbox belongs to the
 * recipient: in a directory that everybody may write, somebody else can have
 * made it, to read what comes (as Postfix's strict_mailbox_ownership). What
 * an alias or a .forward names is the choice of whose word that is.
 */
static int open_mbox(struct mbox *m)
{
	const int flags = O_RDWR | O_APPEND | O_NONBLOCK;
	struct stat st;

	m->fd = m->path[0] == '/'
	    ? sys_openat(AT_FDCWD, m->path, flags | O_NOFOLLOW, 0)
	    : sys_open_beneath(m->dir, m->path, flags, 0);
	if (m->fd < 0 && errno == ENOENT) {
		m->fd = m->path[0] == '/'
		    ? sys_openat(AT_FDCWD, m->path, flags | O_CREAT | O_EXCL |
			O_NOFOLLOW, 0600)
		    : sys_open_beneath(m->dir, m->path, flags | O_CREAT |
			O_EXCL, 0600);
	}
	if (m->fd < 0)
		return -1;
	if (fstat(m->fd, &st) < 0)
		return -1;
	m->owner = st.st_uid;
	m->is_foreign = m->is_mailbox && st.st_uid != geteuid();
	if (m->is_foreign) {
		errno = EPERM;
		return -1;
	}
	/* /dev/null and the like are files to throw mail away in */
	if (S_ISCHR(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (st.st_mode & S_IXUSR)) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

/* LF line ends, and no line that looks like the next message's first. */
struct quoter {
	struct buf out;
	bool at_start, after_cr;
	struct buf held;	/* of a line, while it is a part of "From " */
};

static void quote(struct quoter *q, struct str s)
{
	static const struct str from = { "From ", 5 };

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (q->after_cr && c != '\n')
			buf_append_char(&q->out, '\r');
		q->after_cr = c == '\r';
		if (q->after_cr)
			continue;
		if (q->at_start && q->held.n < from.n &&
		    c == from.p[q->held.n]) {
			buf_append_char(&q->held, c);
			if (q->held.n < from.n)
				continue;
			buf_append_char(&q->out, '>');
			buf_append(&q->out, buf_str(&q->held));
			buf_reset(&q->held);
			q->at_start = false;
			continue;
		}
		buf_append(&q->out, buf_str(&q->held));
		buf_reset(&q->held);
		buf_append_char(&q->out, c);
		q->at_start = c == '\n';
	}
}

static int flush(struct quoter *q, int fd)
{
	int rc = q->out.failed || q->held.failed ? -1
	    : sys_write_all(fd, q->out.p, q->out.n);

	if (q->out.failed || q->held.failed)
		errno = ENOMEM;
	buf_reset(&q->out);
	return rc;
}

static int write_content(struct delivery_job *j, struct quoter *q, int fd,
    bool *damaged)
{
	char *piece = arena_alloc(j->arena, PIECE);
	ssize_t n;

	if (piece == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while ((n = queue_reader_read(&j->reader, piece, PIECE)) > 0) {
		quote(q, str_n(piece, (size_t)n));
		if (flush(q, fd) < 0)
			return -1;
	}
	if (n < 0) {
		*damaged = errno == EBADMSG;
		return -1;
	}
	/* what was held back at the end, a line end, and an empty line */
	if (q->after_cr)
		buf_append_char(&q->out, '\r');
	if (q->held.n > 0 || !q->at_start) {
		buf_append(&q->out, buf_str(&q->held));
		buf_append_char(&q->out, '\n');
	}
	buf_append_char(&q->out, '\n');
	return flush(q, fd);
}

static int write_message(struct delivery_job *j, int fd, bool *damaged)
{
	struct quoter q = { .at_start = true };
	int rc = -1;

	buf_init(&q.out, 4 * PIECE);
	buf_init(&q.held, 16);
	errno = ENOMEM;
	if (deliver_from_line(j->request, &q.out) == 0 &&
	    deliver_fields(j->request, &q.out) == 0 && flush(&q, fd) == 0)
		rc = write_content(j, &q, fd, damaged);
	buf_fini(&q.out);
	buf_fini(&q.held);
	return rc;
}

/* mailbox_size_limit; 0: none. */
static bool is_full(const struct delivery_job *j, const struct mbox *m)
{
	int64_t limit = service_params()->mailbox_size_limit;

	return limit > 0 && m->before + (int64_t)j->reader.header
	    .content_octets > limit;
}

/*
 * A power cut while a message is appended may leave octets of value 0 to the
 * end of the file's last block: the new length was on the disk, what fills it
 * was not. No message has them, so they belong to the one that was cut.
 */
static int take_zeros_away(struct mbox *m)
{
	char block[4096];
	off_t end = m->before;

	while (end > 0) {
		size_t n = end % sizeof(block) != 0 ? end % sizeof(block)
		    : sizeof(block), keep = n;
		ssize_t got = sys_pread_full(m->fd, block, n,
		    end - (off_t)n);

		if (got < 0 || (size_t)got != n)
			return -1;
		while (keep > 0 && block[keep - 1] == '\0')
			keep--;
		end -= (off_t)(n - keep);
		if (keep > 0)
			break;
	}
	if (end == m->before)
		return 0;
	log_warn("%s: the last %lld octets are zeros, which a crash left; "
	    "they are taken away", m->path, (long long)(m->before - end));
	if (sys_ftruncate(m->fd, end) < 0)
		return -1;
	m->before = end;
	return 0;
}

/* RFC 4155: an empty line stands before the next "From ". It is missing
 * behind a message that a crash cut, or that another program wrote so. */
static int end_what_is_there(const struct mbox *m)
{
	off_t at = m->before < 2 ? 0 : m->before - 2;
	char last[2];
	ssize_t n = sys_pread_full(m->fd, last, sizeof(last), at);

	if (n < 0)
		return -1;
	if (n == 0 || (n == 2 && last[0] == '\n' && last[1] == '\n'))
		return 0;
	return sys_write_all(m->fd, "\n\n", last[n - 1] == '\n' ? 1 : 2);
}

/*
 * What is in a file whose name a power cut takes away is lost with it. A
 * directory that may be written and not read cannot be synced by itself.
 */
static int sync_name(const struct mbox *m)
{
	const char *slash = strrchr(m->path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - m->path);
	char dir[4096] = ".";

	if (n >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (slash != NULL)
		snprintf(dir, sizeof(dir), "%.*s", n == 0 ? 1 : (int)n,
		    m->path);
	if (sys_fsync_dir(m->dir, dir) == 0)
		return 0;
	return errno == EACCES ? sys_syncfs(m->fd) : -1;
}

static int append(struct delivery_job *j, struct mbox *m, bool *damaged)
{
	struct stat st;
	int err;

	if (fstat(m->fd, &st) < 0)
		return -1;
	m->before = st.st_size;
	if (S_ISREG(st.st_mode) && is_full(j, m)) {
		errno = EFBIG;
		return -1;
	}
	if ((!S_ISREG(st.st_mode) || (take_zeros_away(m) == 0 &&
	    (m->before > 0 || sync_name(m) == 0) &&
	    end_what_is_there(m) == 0)) &&
	    write_message(j, m->fd, damaged) == 0 &&
	    (!S_ISREG(st.st_mode) || sys_fdatasync_sure(m->fd) == 0))
		return 0;
	err = errno;
	if (S_ISREG(st.st_mode))
		sys_ftruncate(m->fd, m->before);
	errno = err;
	return -1;
}

void deliver_mbox(struct delivery_job *j, int dir, const char *path,
    struct deliver_reply *r)
{
	struct mbox m = { .dir = dir, .fd = -1, .path = path,
		.is_mailbox = j->request->what == DELIVER_MAILBOX };
	int64_t deadline = clock_now() + LOCK_PATIENCE;
	bool damaged = false;
	int err = 0;

	if (dotlock_take(&m.lock, dir, path, deadline) < 0 ||
	    open_mbox(&m) < 0 || lock_file(m.fd, deadline) < 0 ||
	    append(j, &m, &damaged) < 0)
		err = errno;
	if (m.fd >= 0)
		sys_close(m.fd);
	dotlock_release(&m.lock);
	if (err == 0)
		deliver_outcome(r, AGENT_SENT, "2.0.0",
		    j->request->what == DELIVER_FILE
		    ? arena_printf(j->arena, "delivered to file: %s", path)
		    : STR("delivered to mailbox"));
	else if (m.is_foreign)
		deliver_outcome(r, AGENT_DEFERRED, "4.2.0",
		    arena_printf(j->arena, "cannot deliver to %s: it belongs "
			"to uid %u, not to its recipient, uid %u", path,
			(unsigned)m.owner, (unsigned)geteuid()));
	else if (err == EFBIG)
		deliver_outcome(r, AGENT_FAILED, "5.2.2",
		    STR("mailbox is full (mailbox_size_limit)"));
	else
		deliver_failure(j, r, err, arena_cstr(j->arena,
		    arena_printf(j->arena, "cannot deliver to %s", path)));
	r->file_damaged = damaged;
}
