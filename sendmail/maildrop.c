/*
 * maildrop.c - messages that were left while nobody was here
 *
 *   file in maildrop/         a crash now
 *   mode 0600, being written  the command did not exit 0; it is unlinked
 *                             after a day
 *   marked (S_IXUSR), synced  a message: the command may have exited 0
 *   marked, cleanup has it    it is sent twice if we die before the unlink
 *
 * Anybody may make anything there. What is taken is a regular file with one
 * link, of the group that the directory gives, with the mark; it was opened
 * without following a link, and its owner is the submitter. The content is
 * decoded as strictly as what comes over the socket, and copied.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/sys.h"
#include "msgs/maildrop.h"
#include "sendmail/pickup.h"
#include "sendmail/submission.h"
#include "service/service.h"

#define LOOK_INTERVAL CLOCK_SECOND	/* has the directory changed? */
#define WAIT_INTERVAL (10 * CLOCK_SECOND) /* something there was not ready */
#define SCAN_INTERVAL (60 * CLOCK_SECOND)
#define UNFINISHED_AGE (24 * 3600)	/* seconds */
/* When what fails took so much of a pass, cleanup is thought to be away; when
 * so much of it, or so many, were of one owner, he waits for the next. */
#define LOST_MOST (60 * CLOCK_SECOND)
#define OWNER_LOST_MOST (15 * CLOCK_SECOND)
#define OWNER_FAILED_MOST 8
#define HEADER_KEPT 4096		/* octets, to tell the sender */

/* What one user left, in one pass over the directory. */
struct owner {
	int64_t messages, octets;
	int64_t lost;		/* microseconds, on what was not taken */
	unsigned failed;	/* of that */
};

struct pass {
	int dir;
	gid_t gid;		/* that files made there inherit */
	struct map *owners;	/* uid -> struct owner */
	bool has_more;		/* look again soon */
	int64_t lost;		/* of all owners */
	bool has_changed;
};

/* The thread's own, but for `working`. */
static struct {
	atomic_bool working;
	struct map *warned;	/* names of what stays there */
} self;

bool maildrop_drain(void)
{
	return !atomic_load(&self.working);
}

/* --- one file --- */

/* A message in the file, whose envelope lives in the arena. */
struct dropped {
	int fd;
	uid_t uid;
	int64_t since;		/* when it was written, clock_wall() */
	struct arena *arena;	/* of the envelope */
	struct arena *scratch;	/* of one packet */
	char *room;		/* MSG_MAX octets */
	struct pickup_submit submit;
	struct buf header;	/* its first octets */
};

static int read_submit(struct dropped *d, const char **why)
{
	struct str wire;

	if (maildrop_read(d->fd, d->room, &wire) < 0 ||
	    (wire.p = arena_str(d->arena, wire).p) == NULL) {
		*why = "no envelope";
		return -1;
	}
	return msg_decode(&pickup_submit_schema, wire, NULL, 0, d->arena,
	    &d->submit, why);
}

/* Feeds what follows the envelope. -1: it is no message of ours. */
static int feed(struct dropped *d, struct submission *s, const char **why)
{
	union {
		struct pickup_rcpts rcpts;
		struct pickup_data data;
	} m;
	struct str wire;
	bool has_content = false;

	while (submission_reply(s) == NULL) {
		*why = "it ends before the message does";
		if (maildrop_read(d->fd, d->room, &wire) < 0)
			return -1;
		arena_reset(d->scratch);
		if (msg_id(wire) == pickup_rcpts_schema.id && !has_content) {
			if (msg_decode(&pickup_rcpts_schema, wire, NULL, 0,
				d->scratch, &m, why) < 0)
				return -1;
			submission_rcpts(s, &m.rcpts.rcpts);
			continue;
		}
		if (msg_decode(&pickup_data_schema, wire, NULL, 0, d->scratch,
			&m, why) < 0)
			return -1;
		has_content = true;
		if (d->header.n < HEADER_KEPT)
			buf_append(&d->header, str_sub(m.data.content, 0,
			    HEADER_KEPT - d->header.n));
		submission_data(s, m.data.content, m.data.last);
	}
	return 0;
}

enum fate { FATE_DONE, FATE_LATER, FATE_DAMAGED };

/* Reads the part of the header that a notice shows, though nothing of the
 * content was taken. */
static void look_at_header(struct dropped *d)
{
	struct pickup_data data;
	const char *why;
	struct str wire;

	while (d->header.n == 0 && maildrop_read(d->fd, d->room, &wire) == 0) {
		arena_reset(d->scratch);
		if (msg_decode(&pickup_data_schema, wire, NULL, 0, d->scratch,
			&data, &why) == 0) {
			buf_append(&d->header, str_sub(data.content, 0,
			    HEADER_KEPT));
			return;
		}
	}
}

static enum fate submit_dropped(struct dropped *d, const char *name)
{
	struct submission *s = submission_new(d->uid, d->since);
	const struct pickup_reply *reply;
	enum fate fate = FATE_DONE;
	const char *why;

	if (s == NULL)
		return FATE_LATER;
	if (read_submit(d, &why) < 0)
		goto damaged;
	submission_begin(s, &d->submit);
	if (submission_reply(s) == NULL && feed(d, s, &why) < 0)
		goto damaged;
	reply = submission_reply(s);
	if (reply->code >= 500) {
		look_at_header(d);
		log_warn("uid=%u: maildrop/%s is refused: %u %.*s %.*s",
		    (unsigned)d->uid, name, (unsigned)reply->code,
		    STR_ARG(reply->dsn), STR_ARG(reply->text));
		if (submission_tell(d->uid, d->submit.sender,
			&d->submit.rcpts, reply, buf_str(&d->header)) < 0)
			fate = FATE_LATER;
	} else if (reply->code != 250) {
		fate = FATE_LATER;
	}
	submission_free(&s);
	return fate;
damaged:
	log_warn("uid=%u: maildrop/%s is no message: %s", (unsigned)d->uid,
	    name, why);
	submission_free(&s);
	return FATE_DAMAGED;
}

/* fd is the caller's. */
static enum fate take_message(int fd, const struct stat *st, const char *name)
{
	struct dropped d = { .fd = fd, .uid = st->st_uid,
		.since = maildrop_since(st),
		.arena = arena_new(4 * MSG_MAX),
		.scratch = arena_new(4 * MSG_MAX),
		.room = malloc(MSG_MAX) };
	enum fate fate = FATE_LATER;

	buf_init(&d.header, HEADER_KEPT);
	if (d.arena != NULL && d.scratch != NULL && d.room != NULL)
		fate = submit_dropped(&d, name);
	buf_fini(&d.header);
	arena_free(&d.arena);
	arena_free(&d.scratch);
	free(d.room);
	return fate;
}

/* --- what lies there --- */

/* Says once of each name that stays what is wrong with it. */
static void warn_once(const char *name, const struct stat *st,
    const char *what)
{
	static char mark;

	if (self.warned != NULL && map_find(self.warned, str_of(name)) != NULL)
		return;
	if (self.warned != NULL && map_count(self.warned) > 10000)
		map_free(&self.warned, NULL);
	if (self.warned == NULL)
		self.warned = map_new(false);
	if (self.warned != NULL)
		map_set(self.warned, str_of(name), &mark, NULL);
	log_warn("uid=%u: maildrop/%s: %s", (unsigned)st->st_uid, name, what);
}

static void remove_name(struct pass *p, const char *name)
{
	if (sys_unlinkat(p->dir, name) == 0)
		p->has_changed = true;
	else if (errno != ENOENT)
		log_warn("maildrop/%s: cannot be removed: %s", name,
		    strerror(errno));
}

/* Kept for the operator under a name that is not looked at. */
static void put_aside(struct pass *p, const char *name)
{
	char aside[300];

	snprintf(aside, sizeof(aside), ".corrupt-%s", name);
	if (sys_renameat_new(p->dir, name, p->dir, aside) < 0)
		remove_name(p, name);
	p->has_changed = true;
}

/* What is not taken: true when it is to be forgotten. */
static void refuse_name(struct pass *p, const char *name,
    const struct stat *st, const char *why)
{
	if (S_ISDIR(st->st_mode)) {
		if (sys_rmdirat(p->dir, name) < 0)
			warn_once(name, st, why);
		return;
	}
	if (!S_ISREG(st->st_mode) || st->st_gid != p->gid) {
		/* no command of ours leaves that */
		warn_once(name, st, why);
		remove_name(p, name);
		return;
	}
	if (st->st_nlink != 1) {
		/* somebody linked to a message, perhaps not its owner */
		warn_once(name, st, why);
		return;
	}
	if (clock_wall() / CLOCK_SECOND - st->st_mtime > UNFINISHED_AGE) {
		log_warn("uid=%u: maildrop/%s: unfinished for a day, removed",
		    (unsigned)st->st_uid, name);
		remove_name(p, name);
		return;
	}
	p->has_more = true;
}

static struct owner *find_owner(struct pass *p, const struct stat *st)
{
	return map_find(p->owners, str_n(&st->st_uid, sizeof(st->st_uid)));
}

/* Counts it; false when its owner has had his share of this pass. */
static bool count_owner(struct pass *p, const struct stat *st)
{
	const struct params *params = service_params();
	struct str key = str_n(&st->st_uid, sizeof(st->st_uid));
	struct owner *o = find_owner(p, st);

	if (o == NULL) {
		if ((o = calloc(1, sizeof(*o))) == NULL ||
		    map_set(p->owners, key, o, NULL) < 0) {
			free(o);
			return false;
		}
	}
	if (o->messages >= params->maildrop_count_limit ||
	    (o->messages > 0 && o->octets + st->st_size >
		params->maildrop_size_limit)) {
		if (o->messages != INT64_MAX)
			log_warn("uid=%u: more than %lld messages or %lld "
			    "octets wait in maildrop; the rest comes after "
			    "others'", (unsigned)st->st_uid,
			    (long long)params->maildrop_count_limit,
			    (long long)params->maildrop_size_limit);
		o->messages = INT64_MAX;
		p->has_more = true;
		return false;
	}
	o->messages++;
	o->octets += st->st_size;
	return true;
}

/* Not now. It may be this message alone that cleanup does not take: that is
 * no reason for others to wait. */
static void put_off(struct pass *p, const struct stat *st, int64_t since)
{
	struct owner *o = find_owner(p, st);
	int64_t lost = clock_now() - since;

	p->has_more = true;
	p->lost += lost;
	o->lost += lost;
	if (++o->failed >= OWNER_FAILED_MOST || o->lost >= OWNER_LOST_MOST)
		o->messages = INT64_MAX;
}

static void take_file(struct pass *p, const char *name)
{
	int64_t since = clock_now();
	const char *why;
	struct stat st;
	int fd;

	if (fstatat(p->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if ((why = maildrop_judge(&st, p->gid)) != NULL) {
		refuse_name(p, name, &st, why);
		return;
	}
	fd = openat(p->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)
			warn_once(name, &st, strerror(errno));
		p->has_more = errno != ENOENT;
		return;
	}
	/* A process before us may have it, or took it just now: after the
	 * lock, what the descriptor says counts. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		p->has_more = true;
	} else if (fstat(fd, &st) < 0 || maildrop_judge(&st, p->gid) != NULL) {
		p->has_more = true;
	} else if (count_owner(p, &st)) {
		switch (take_message(fd, &st, name)) {
		case FATE_DONE:
			remove_name(p, name);
			break;
		case FATE_LATER:
			put_off(p, &st, since);
			break;
		case FATE_DAMAGED:
			put_aside(p, name);
			break;
		}
	}
	close(fd);
}

/* --- passes --- */

/* One entry; false when the process is to end. */
static bool work_on(struct pass *p, const char *name)
{
	bool go_on;

	atomic_store(&self.working, true);
	go_on = !service_draining();
	if (go_on && name[0] != '.')
		take_file(p, name);
	atomic_store(&self.working, false);
	if (service_draining())
		service_done();
	return go_on && !service_draining();
}

static void pass_over(struct pass *p)
{
	struct dirent *e;
	struct stat st;
	int copy;
	DIR *d;

	p->owners = map_new(false);
	copy = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = copy < 0 ? NULL : fdopendir(copy);
	if (d == NULL || p->owners == NULL || fstat(p->dir, &st) < 0) {
		log_warn("maildrop: %s", strerror(errno));
		if (d == NULL && copy >= 0)
			close(copy);
		p->has_more = true;
		goto out;
	}
	p->gid = st.st_gid;
	while (p->lost < LOST_MOST && (e = readdir(d)) != NULL)
		if (!work_on(p, e->d_name))
			break;
	/* What is gone stays gone: or a power cut brings it back. */
	if (p->has_changed && sys_fsync(p->dir) < 0)
		log_warn("maildrop: sync: %s", strerror(errno));
out:
	if (d != NULL)
		closedir(d);
	map_free(&p->owners, free);
}

static void watch_maildrop(void *arg)
{
	int dir = openat(service_dir("maildrop"), ".",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct timespec seen = { 0, -1 };
	int64_t next = 0;
	struct stat st;

	(void)arg;
	if (dir < 0) {
		log_warn("maildrop: %s", strerror(errno));
		return;
	}
	while (!service_draining()) {
		struct pass p = { .dir = dir };

		if (fstat(dir, &st) == 0 && (clock_now() >= next ||
		    st.st_mtim.tv_sec != seen.tv_sec ||
		    st.st_mtim.tv_nsec != seen.tv_nsec)) {
			seen = st.st_mtim;
			pass_over(&p);
			next = clock_now() + (p.has_more ? WAIT_INTERVAL
			    : SCAN_INTERVAL);
		}
		usleep(LOOK_INTERVAL);
	}
	close(dir);
}

int maildrop_start(void)
{
	return service_thread(watch_maildrop, NULL);
}
