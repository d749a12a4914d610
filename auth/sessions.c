#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/sessions.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "service/service.h"

#define ORDER_TIME (10 * CLOCK_SECOND)
/* Orders for different users go on side by side. */
#define SHARDS 16
/* Processes of a shard above which the ended ones are looked for. */
#define SWEEP_FROM 64

struct process {
	int fd;
};

static struct shard {
	pthread_mutex_t lock;
	struct map *running;	/* "program/key" to struct process */
	size_t sweep_at;
} shards[SHARDS] = {
	[0 ... SHARDS - 1] = { PTHREAD_MUTEX_INITIALIZER, NULL, SWEEP_FROM },
};

/* The other end is gone when nobody is left who could serve. */
static bool is_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	return poll(&p, 1, 0) != 0;
}

static void process_free(void *value)
{
	struct process *p = value;

	close(p->fd);
	free(p);
}

/* Takes out the processes that ended. */
static void sweep(struct shard *s)
{
	for (bool found = true; found;) {
		struct str key;
		size_t pos = 0;
		void *value;
		char name[USERS_NAME_MAX + 64];

		found = false;
		while (!found && map_next(s->running, &pos, &key, &value)) {
			struct process *p = value;

			found = is_gone(p->fd) &&
			    str_to_c(key, name, sizeof(name)) == 0;
		}
		if (found)
			process_free(map_take(s->running, str_of(name)));
	}
	s->sweep_at = 2 * map_count(s->running) + SWEEP_FROM;
}

static int order(enum launch_program program, const struct user *u,
    bool again, int *fd_r, const char **why_r)
{
	struct launch_request q = {
		.program = program, .uid = u->uid, .gid = u->gid,
		.is_virtual = u->is_virtual, .again = again,
	};
	struct launch_reply reply = { .edge = -1 };
	struct conv *c;

	/* One deliver for all who share a uid below the mail root. */
	if (program != LAUNCH_DELIVER || !u->is_virtual)
		q.dir = str_of(u->dir);
	if (program != LAUNCH_DELIVER && program != LAUNCH_COMMAND)
		q.user = str_of(u->name);
	if (service_ask("launch", &launch_request_schema, &q,
	    &launch_reply_schema, &reply, ORDER_TIME, &c, why_r) != 0)
		return -1;
	if (reply.pid == 0 || reply.edge < 0) {
		log_warn("launch refuses a process for %s: " STR_FMT, u->name,
		    STR_ARG(reply.text));
		*why_r = "no process";
		if (reply.edge >= 0)
			close(reply.edge);
		conv_keep(&c);
		return -1;
	}
	*fd_r = reply.edge;
	conv_keep(&c);
	return 0;
}

/* The shard is locked. */
static struct process *find_or_order(struct shard *s, struct str key,
    enum launch_program program, const struct user *u, bool again,
    const char **why_r)
{
	struct process *p;
	void *old = NULL;

	*why_r = "out of memory";
	if (s->running == NULL && (s->running = map_new(false)) == NULL)
		return NULL;
	p = map_find(s->running, key);
	if (p != NULL && !again && !is_gone(p->fd))
		return p;
	if (map_count(s->running) >= s->sweep_at)
		sweep(s);
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	if (order(program, u, again, &p->fd, why_r) != 0) {
		free(p);
		return NULL;
	}
	if (map_set(s->running, key, p, &old) != 0) {
		process_free(p);
		return NULL;
	}
	if (old != NULL)
		process_free(old);
	return p;
}

int sessions_edge(enum launch_program program, const struct user *u,
    bool again, int *fd_r, const char **why_r)
{
	char key[USERS_NAME_MAX + 64];
	struct process *p;
	struct shard *s;

	if (program == LAUNCH_DELIVER && u->is_virtual)
		snprintf(key, sizeof(key), "%d/%u:%u", program,
		    (unsigned)u->uid, (unsigned)u->gid);
	else
		snprintf(key, sizeof(key), "%d/%s", program, u->name);
	s = &shards[str_hash(str_of(key)) % SHARDS];
	*fd_r = -1;
	pthread_mutex_lock(&s->lock);
	p = find_or_order(s, str_of(key), program, u, again, why_r);
	if (p != NULL) {
		*fd_r = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
		*why_r = *fd_r < 0 ? strerrordesc_np(errno) : NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return *fd_r >= 0 ? 0 : -1;
}
