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

static bool recall(struct str address, struct arena *a, struct user *user_r)
{
	struct entry *e;
	bool found = false;

	pthread_mutex_lock(&lock);
	if (entries != NULL && (e = map_find(entries, address)) != NULL &&
	    clock_now() - e->asked < USERS_FRESH_SECONDS * CLOCK_SECOND)
		found = copy_user(&e->user, a, user_r);
	pthread_mutex_unlock(&lock);
	return found;
}

/*
 * One edge for each uid's process. Its far end is the process, so an edge
 * whose process is the same one still works; a new descriptor is taken only
 * when the old one is known to be dead. Edges are few and stay.
 */
static struct edge *edge_of(uint64_t uid, int fd, bool anew)
{
	static struct {
		uint64_t uid;
		struct edge *edge;
	} *edges;
	static size_t count;
	struct edge *e;
	void *more;
	size_t i;

	for (i = 0; i < count; i++)
		if (edges[i].uid == uid)
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
		more = realloc(edges, (count + 1) * sizeof(*edges));
		if (more == NULL) {
			edge_free(&e);
			return NULL;
		}
		edges = more;
		edges[count++].uid = uid;
	}
	edges[i].edge = e;	/* threads may still use the old one */
	return e;
}

static void remember(struct str address, const struct user *u)
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
	if (entries == NULL || map_set(entries, address, e, &old) < 0) {
		free(e);
		return;
	}
	free(old);
}

enum users_status users_find(struct str address, bool anew, struct arena *a,
    struct user *user_r, const char **why_r)
{
	struct mailbox_request req = { .address = address };
	struct mailbox_reply rep;
	struct conv *c;
	bool ok;

	if (!anew && recall(address, a, user_r))
		return USERS_FOUND;
	if (service_ask("auth", &mailbox_request_schema, &req,
		&mailbox_reply_schema, &rep, ASK_TIMEOUT, &c, why_r) < 0)
		return USERS_TEMPFAIL;
	if (rep.status == AUTH_OK && rep.deliver >= 0) {
		*user_r = (struct user){ .address = arena_str(a, rep.user),
			.dir = arena_str(a, rep.dir),
			.is_virtual = rep.is_virtual, .uid = rep.uid };
		pthread_mutex_lock(&lock);
		user_r->edge = edge_of(rep.uid, rep.deliver, anew);
		ok = user_r->edge != NULL && !arena_failed(a);
		if (ok)
			remember(address, user_r);
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
