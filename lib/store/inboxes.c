#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/map.h"
#include "base/sys.h"
#include "store/delivery.h"
#include "store/inboxes.h"
#include "store/maildir.h"

#define KEY_MAX (16 + 4096)

struct inbox {
	struct inboxes *all;
	TAILQ_ENTRY(inbox) link;
	struct maildir md;	/* tmp and fresh only */
	dev_t dev;		/* of new/ */
	ino_t ino;
	unsigned users;
	bool is_listed;
	size_t key_octets;
	char key[];
};

struct inboxes {
	struct store store;	/* for its host; no directory */
	size_t most;
	pthread_mutex_t lock;
	/* under the lock */
	struct map *by_key;
	TAILQ_HEAD(inbox_list, inbox) recent; /* the one longest unused last */
	size_t count;
};

struct inboxes *inboxes_new(struct str host, size_t most)
{
	struct inboxes *all = calloc(1, sizeof(*all));

	if (all == NULL || (all->by_key = map_new(false)) == NULL) {
		free(all);
		return NULL;
	}
	store_set_host(&all->store, host);
	all->store.root = -1;
	all->most = most;
	pthread_mutex_init(&all->lock, NULL);
	TAILQ_INIT(&all->recent);
	return all;
}

static void free_inbox(struct inbox *in)
{
	maildir_close(&in->md);
	free(in);
}

static struct str key_of(const struct inbox *in)
{
	return str_n(in->key, in->key_octets);
}

/* With the lock. It is freed by whoever used it last. */
static void unlist(struct inboxes *all, struct inbox *in)
{
	map_take(all->by_key, key_of(in));
	TAILQ_REMOVE(&all->recent, in, link);
	all->count--;
	in->is_listed = false;
}

void inboxes_free(struct inboxes **inboxes)
{
	struct inboxes *all = *inboxes;
	struct inbox *in;

	if (all == NULL)
		return;
	while ((in = TAILQ_FIRST(&all->recent)) != NULL) {
		unlist(all, in);
		free_inbox(in);
	}
	map_free(&all->by_key, NULL);
	pthread_mutex_destroy(&all->lock);
	free(all);
	*inboxes = NULL;
}

static struct str make_key(char *key, int root, const char *path)
{
	int n = snprintf(key, KEY_MAX, "%d:%s", root, path);

	return n > 0 && n < KEY_MAX ? str_n(key, (size_t)n) : STR_NONE;
}

/* Does the path lead to the new/ that we have open? It may follow a link
 * for all we care: only a directory that was opened without is used. */
static bool is_current(const struct inbox *in, int root, const char *path)
{
	char fresh[KEY_MAX];
	struct stat st;
	int n = snprintf(fresh, sizeof(fresh), "%s/new", path);

	return n > 0 && (size_t)n < sizeof(fresh) &&
	    fstatat(root, fresh, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == in->dev && st.st_ino == in->ino;
}

struct inbox *inboxes_find(struct inboxes *all, int root, const char *path)
{
	char buffer[KEY_MAX];
	struct str key = make_key(buffer, root, path);
	struct inbox *in;

	pthread_mutex_lock(&all->lock);
	in = key.n > 0 ? map_find(all->by_key, key) : NULL;
	if (in != NULL) {
		in->users++;
		TAILQ_REMOVE(&all->recent, in, link);
		TAILQ_INSERT_HEAD(&all->recent, in, link);
	}
	pthread_mutex_unlock(&all->lock);
	if (in != NULL && !is_current(in, root, path))
		inbox_release(&in, false);
	return in;
}

static struct inbox *new_inbox(struct inboxes *all, struct str key)
{
	struct inbox *in = calloc(1, sizeof(*in) + key.n);

	if (in == NULL)
		return NULL;
	in->all = all;
	in->md = (struct maildir){ -1, -1, -1, -1 };
	in->users = 1;
	in->key_octets = key.n;
	if (key.n > 0)
		memcpy(in->key, key.p, key.n);
	return in;
}

/* With the lock. The one that another thread listed meanwhile stays. */
static void list(struct inboxes *all, struct inbox *in)
{
	struct inbox *last;

	if (in->key_octets == 0 || map_find(all->by_key, key_of(in)) != NULL ||
	    map_set(all->by_key, key_of(in), in, NULL) < 0)
		return;
	TAILQ_INSERT_HEAD(&all->recent, in, link);
	in->is_listed = true;
	if (++all->count <= all->most)
		return;
	last = TAILQ_LAST(&all->recent, inbox_list);
	unlist(all, last);
	if (last->users == 0)
		free_inbox(last);
}

struct inbox *inboxes_open(struct inboxes *all, int root, const char *path,
    int dir, const char **why_r)
{
	char buffer[KEY_MAX];
	struct inbox *in = new_inbox(all, make_key(buffer, root,
	    path));
	struct store store = all->store;
	struct mbname name;
	struct stat st;

	if (in == NULL) {
		store_fail_errno(why_r, "");
		return NULL;
	}
	store.root = dir;
	if (mbname_parse(STR("INBOX"), &name, why_r) < 0 ||
	    maildir_open(&store, &name, &in->md, why_r) < 0) {
		free(in);
		return NULL;
	}
	if (fstat(in->md.fresh, &st) < 0) {
		store_fail_errno(why_r, "The mailbox cannot be opened");
		free_inbox(in);
		return NULL;
	}
	sys_close(in->md.dir);
	sys_close(in->md.cur);
	in->md.dir = in->md.cur = -1;
	in->dev = st.st_dev;
	in->ino = st.st_ino;
	pthread_mutex_lock(&all->lock);
	list(all, in);
	pthread_mutex_unlock(&all->lock);
	return in;
}

bool inbox_belongs_to(const struct inbox *in, uid_t uid)
{
	const int fds[] = { in->md.tmp, in->md.fresh };
	struct stat st;

	for (size_t i = 0; i < 2; i++)
		if (fstat(fds[i], &st) < 0 ||
		    (st.st_uid != uid && st.st_uid != 0))
			return false;
	return true;
}

void inbox_release(struct inbox **inbox, bool keep)
{
	struct inbox *in = *inbox;
	struct inboxes *all;
	bool last;

	if (in == NULL)
		return;
	all = in->all;
	pthread_mutex_lock(&all->lock);
	if (!keep && in->is_listed)
		unlist(all, in);
	last = --in->users == 0 && !in->is_listed;
	pthread_mutex_unlock(&all->lock);
	if (last)
		free_inbox(in);
	*inbox = NULL;
}

int inbox_delivery_open(struct inbox *in, struct delivery **delivery_r,
    const char **why_r)
{
	return delivery_open_in(&in->all->store, &in->md, delivery_r, why_r);
}
