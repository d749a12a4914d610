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
 * One edge for each process: that of a uid for the virtual users, those of
 * each system user (they are confined to his home). Its far end is the
 * process, so an edge whose process is the same one still works; a new
 * descriptor is taken only when the old one is known to be dead. Edges are
 * few and stay.
 */
static struct edge *edge_of(const struct user *u, bool command, int fd,
    bool anew)
{
	static struct {
		uint64_t uid;
		bool command;
		char *home;	/* NULL: a virtual user's */
		struct edge *edge;
	} *edges;
	char *home = NULL;
	static size_t count;
	struct edge *e;
	void *more;
	size_t i;

	for (i = 0; i < count; i++)
		if (edges[i].uid == u->uid && edges[i].command == command &&
		    (edges[i].home == NULL) == u->is_virtual &&
		    (u->is_virtual || str_eq_c(u->dir, edges[i].home)))
			break;
	if (i < count && !anew) {
		close(fd);
		return edges[i].edge;
	}
	if ((e = edge_new("deliver", fd)) == NULL) {
		close(fd);
		return NULL;
	}
	if (i == count) {
		if (!u->is_virtual)
			home = strndup(u->dir.p, u->dir.n);
		more = realloc(edges, (count + 1) * sizeof(*edges));
		if (more != NULL)
			edges = more;
		if (more == NULL || (!u->is_virtual && home == NULL)) {
			free(home);
			edge_free(&e);
			return NULL;
		}
		edges[i].uid = u->uid;
		edges[i].command = command;
		edges[i].home = home;
		count++;
	}
	edges[i].edge = e;	/* threads may still use the old one */
	return e;
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
		user_r->edge = edge_of(user_r, command, rep.deliver,
		    anew);
		ok = user_r->edge != NULL && !arena_failed(a);
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
