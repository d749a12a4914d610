#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/map.h"
#include "local/users.h"
#include "msgs/auth.h"
#include "service/service.h"

#define REMEMBERED_MAX 10000
#define ASK_TIMEOUT (30 * CLOCK_SECOND)

struct entry {
	struct user user;
	int64_t asked;
	char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *entries;	/* address -> struct entry */

static bool copy_user(const struct user *from, struct arena *a,
    struct user *to)
{
	*to = *from;
	to->address = arena_str(a, from->address);
	to->dir = arena_str(a, from->dir);
	return !arena_failed(a);
}

/* What is remembered of a user for each of his two processes. */
static struct str key_of(struct str address, bool command, struct arena *a)
{
	return command ? arena_printf(a, "|" STR_FMT, STR_ARG(address))
	    : address;
}

static bool recall(struct str key, struct arena *a, struct user *user_r)
{
	struct entry *e;
	bool found = false;

	pthread_mutex_lock(&lock);
	if (entries != NULL && (e = map_find(entries, key)) != NULL &&
	    clock_now() - e->asked < USERS_FRESH_SECONDS * CLOCK_SECOND)
		found = copy_user(&e->user, a, user_r);
	pthread_mutex_unlock(&lock);
	return found;
}

/*
 * The way to a process: the one that there is now, or one that was replaced
 * and goes with its last conversation. A user whose process ends again and
 * again costs no more than another.
 */
struct way {
	struct edge *edge;
	size_t uses;	/* open conversations, and 1 for the present one */
};

/*
 * One for each process: that of a uid for the virtual users, those of each
 * system user (they are confined to his home). They are few and stay. A way's
 * far end is the process, so that of the same process still works; a new one
 * is taken only when the old one is known to be dead.
 */
static struct process {
	uint64_t uid;
	bool command;
	char *home;	/* NULL: a virtual user's */
	struct way *way;
} *processes;
static size_t process_count;

/* With the lock. */
static void leave_way(struct way **wp)
{
	struct way *w = *wp;

	*wp = NULL;
	if (w == NULL || --w->uses > 0)
		return;
	edge_free(&w->edge);
	free(w);
}

/* Takes the descriptor in any case. */
static struct way *new_way(int fd)
{
	struct way *w = malloc(sizeof(*w));

	if (w == NULL || (w->edge = edge_new("deliver", fd)) == NULL) {
		close(fd);
		free(w);
		return NULL;
	}
	w->uses = 1;
	return w;
}

static struct process *add_process(const struct user *u, bool command)
{
	struct process *more = realloc(processes, (process_count + 1) *
	    sizeof(*more));
	struct process *p;

	if (more == NULL)
		return NULL;
	processes = more;
	p = &more[process_count];
	*p = (struct process){ .uid = u->uid, .command = command };
	if (!u->is_virtual && (p->home = strndup(u->dir.p, u->dir.n)) == NULL)
		return NULL;
	process_count++;
	return p;
}

static struct process *find_process(const struct user *u, bool command)
{
	for (size_t i = 0; i < process_count; i++) {
		struct process *p = &processes[i];

		if (p->uid == u->uid && p->command == command &&
		    (p->home == NULL) == u->is_virtual &&
		    (u->is_virtual || str_eq_c(u->dir, p->home)))
			return p;
	}
	return NULL;
}

/* With the lock; takes the descriptor in any case. 0 or -1. */
static int take_way(struct user *u, bool command, int fd, bool anew)
{
	struct process *p = find_process(u, command);
	struct way *w;

	if (p != NULL && p->way != NULL && !anew) {
		close(fd);
	} else {
		if ((w = new_way(fd)) == NULL)
			return -1;
		if (p == NULL && (p = add_process(u, command)) == NULL) {
			leave_way(&w);
			return -1;
		}
		leave_way(&p->way);
		p->way = w;
	}
	u->process = (size_t)(p - processes);
	return 0;
}

int users_open(const struct user *u, int64_t deadline, struct talk *t)
{
	pthread_mutex_lock(&lock);
	t->way = processes[u->process].way;
	t->way->uses++;
	pthread_mutex_unlock(&lock);
	if ((t->conv = edge_open(t->way->edge, deadline)) != NULL)
		return 0;
	users_close(t, false);
	return -1;
}

void users_close(struct talk *t, bool whole)
{
	if (t->conv != NULL && whole)
		conv_keep(&t->conv);
	conv_close(&t->conv);
	pthread_mutex_lock(&lock);
	leave_way(&t->way);
	pthread_mutex_unlock(&lock);
}

static void remember(struct str key, const struct user *u)
{
	struct entry *e = malloc(sizeof(*e) + u->address.n + u->dir.n);
	void *old = NULL;

	if (e == NULL)
		return;
	e->user = *u;
	e->asked = clock_now();
	memcpy(e->text, u->address.p, u->address.n);
	memcpy(e->text + u->address.n, u->dir.p, u->dir.n);
	e->user.address = str_n(e->text, u->address.n);
	e->user.dir = str_n(e->text + u->address.n, u->dir.n);
	if (entries != NULL && map_count(entries) >= REMEMBERED_MAX)
		map_free(&entries, free);
	if (entries == NULL)
		entries = map_new(true);
	if (entries == NULL || map_set(entries, key, e, &old) < 0) {
		free(e);
		return;
	}
	free(old);
}

enum users_status users_find(struct str address, bool command, bool anew,
    struct arena *a, struct user *user_r, const char **why_r)
{
	struct mailbox_request req = { .address = address,
		.command = command };
	struct str key = key_of(address, command, a);
	struct mailbox_reply rep;
	struct conv *c;
	bool ok;

	if (!anew && recall(key, a, user_r))
		return USERS_FOUND;
	if (service_ask("auth", &mailbox_request_schema, &req,
		&mailbox_reply_schema, &rep, ASK_TIMEOUT, &c, why_r) < 0)
		return USERS_TEMPFAIL;
	if (rep.status == AUTH_OK && rep.deliver >= 0) {
		*user_r = (struct user){ .address = arena_str(a, rep.user),
			.dir = arena_str(a, rep.dir),
			.is_virtual = rep.is_virtual, .uid = rep.uid };
		pthread_mutex_lock(&lock);
		ok = take_way(user_r, command, rep.deliver, anew) == 0 &&
		    !arena_failed(a);
		if (ok)
			remember(key, user_r);
		pthread_mutex_unlock(&lock);
		conv_keep(&c);
		*why_r = "no memory";
		return ok ? USERS_FOUND : USERS_TEMPFAIL;
	}
	if (rep.deliver >= 0)
		close(rep.deliver);
	ok = rep.status == AUTH_NO;
	conv_keep(&c);
	*why_r = "the user database cannot be asked";
	return ok ? USERS_UNKNOWN : USERS_TEMPFAIL;
}
