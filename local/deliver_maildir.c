#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "local/deliver.h"
#include "service/service.h"
#include "store/delivery.h"
#include "store/inboxes.h"

#define PIECE 65536
/* Mailboxes that stay open, two descriptors each. */
#define INBOXES_OPEN 256

static struct inboxes *inboxes;

/* Directories that this process may deliver into, and a path below;
 * AT_FDCWD and an absolute one where it has no walls. */
struct place {
	int root;
	char *path;
	bool is_own;		/* a system user's mailbox */
};

/* 0, or -1 with errno. */
static int find_place(struct delivery_job *j, struct place *p)
{
	bool named = j->request->what == DELIVER_FILE;
	struct str text = named ? j->request->mailbox : j->request->dir;
	size_t n;

	p->root = named ? AT_FDCWD : j->root;
	p->path = arena_cstr(j->arena, text);
	p->is_own = false;
	if (p->path == NULL || text.n == 0 || str_has_nul(text)) {
		errno = EINVAL;
		return -1;
	}
	while (named && text.n > 1 && p->path[text.n - 1] == '/')
		p->path[--text.n] = '\0';
	if (named || p->path[0] != '/')
		return 0;
	p->is_own = true;
	/* a home directory: we are confined to it */
	p->path = arena_cstr(j->arena, j->request->mailbox);
	if (p->path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (p->path[0] == '\0') {
		p->path = arena_cstr(j->arena, STR("."));
		return p->path != NULL ? 0 : -1;
	}
	if (p->path[0] == '/') { /* among all mailboxes */
		p->root = service_dir("mailspool");
		p->path++;
	}
	n = strlen(p->path);
	if (n < 2) { /* "/": all of it is nobody's Maildir */
		errno = EINVAL;
		return -1;
	}
	p->path[n - 1] = '\0'; /* the / that says Maildir */
	return 0;
}

static int open_directory(const struct place *p)
{
	const int flags = O_RDONLY | O_DIRECTORY;

	return p->root == AT_FDCWD
	    ? sys_openat(p->root, p->path, flags | O_NOFOLLOW, 0)
	    : sys_open_beneath(p->root, p->path, flags, 0);
}

/* The directory that holds the name of `path`. */
static int sync_parent(const struct place *p, char *path)
{
	char *slash = strrchr(path, '/');
	int rc;

	if (slash == NULL || slash == path)
		return sys_fsync_dir(p->root, slash == NULL ? "." : "/");
	*slash = '\0';
	rc = sys_fsync_dir(p->root, path);
	*slash = '/';
	return rc;
}

/* Below the root, whatever `path` names: the walls are not the only ones to
 * say so. */
static int make_beneath(const struct place *p, char *path)
{
	char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	int dir, rc, error;

	if (*name == '\0')
		return 0;
	if (slash != NULL)
		*slash = '\0';
	dir = sys_open_beneath(p->root, slash == NULL ? "." : path,
	    O_RDONLY | O_DIRECTORY, 0);
	if (slash != NULL)
		*slash = '/';
	if (dir < 0)
		return -1;
	/* another process may have made it this moment */
	rc = sys_mkdirat(dir, name, 0700) < 0 && errno != EEXIST ? -1
	    : sys_fsync(dir);
	error = errno;
	sys_close(dir);
	errno = error;
	return rc;
}

/* A new directory's name must be durable too. */
static int make_directory(const struct place *p, char *path)
{
	if (p->root != AT_FDCWD)
		return make_beneath(p, path);
	if (sys_mkdirat(p->root, path, 0700) == 0)
		return sync_parent(p, path);
	/* above what is named there are directories that we cannot even
	 * read */
	return errno == EEXIST ? 0 : -1;
}

/*
 * Opens it below the root, without following a link and without leaving
 * that; makes what is missing.
 */
static int open_place(const struct place *p)
{
	int fd = open_directory(p), rc = 0;
	char *slash = p->path;

	if (fd >= 0 || errno != ENOENT)
		return fd;
	while (rc == 0 && slash != NULL) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL)
			*slash = '\0';
		rc = make_directory(p, p->path);
		if (slash != NULL)
			*slash = '/';
	}
	return rc < 0 ? -1 : open_directory(p);
}

/*
 * Nobody else's: who made it first, in a directory that everybody may write,
 * could take away what comes. Of virtual users the whole mail root is one
 * owner's, whatever uids he has given it, and a Maildir that is named is the
 * choice of whose word that is.
 */
static bool is_foreign(const struct place *p, const struct inbox *in, int dir)
{
	struct stat st, cur;

	return p->is_own && (!inbox_belongs_to(in, geteuid()) ||
	    fstat(dir, &st) < 0 || fstatat(dir, "cur", &cur,
		AT_SYMLINK_NOFOLLOW) < 0 ||
	    (st.st_uid != geteuid() && st.st_uid != 0) ||
	    (cur.st_uid != geteuid() && cur.st_uid != 0));
}

static const char foreign[] = "it or a directory in it belongs to another "
    "user than its recipient";

/* The words say more than errno, whose number says who can mend it. */
static void failed(struct delivery_job *j, struct deliver_reply *r,
    const char *why)
{
	deliver_failure(j, r, errno, "maildir delivery failed");
	if (why == foreign) /* as an mbox of somebody else */
		r->dsn = STR("4.2.0");
	r->text = arena_printf(j->arena, "maildir delivery failed: %s", why);
}

static int copy_message(struct delivery_job *j, struct delivery *d,
    bool *damaged, const char **why)
{
	/* one octet more than the content: its end is found at once */
	size_t most = j->reader.header.content_octets < PIECE
	    ? (size_t)j->reader.header.content_octets + 1 : PIECE;
	char *piece = arena_alloc(j->arena, most);
	struct buf fields;
	ssize_t n;
	int rc;

	*why = "no memory";
	if (piece == NULL)
		return -1;
	buf_init(&fields, 8192);
	rc = deliver_fields(j->request, &fields);
	if (rc == 0)
		rc = delivery_write(d, buf_str(&fields));
	buf_fini(&fields);
	while (rc == 0 && (n = queue_reader_read(&j->reader, piece, most)) !=
	    0) {
		*why = "queue file is damaged or cannot be read";
		if (n < 0) {
			*damaged = errno == EBADMSG;
			return -1;
		}
		if (delivery_write(d, str_n(piece, (size_t)n)) < 0)
			rc = -1;
	}
	if (rc < 0)
		*why = strerror(errno);
	return rc;
}

/* The mailbox and a delivery into it; NULL with *why and errno. */
static struct inbox *open_delivery(const struct place *p, struct delivery **d,
    const char **why)
{
	struct inbox *in = inboxes_find(inboxes, p->root, p->path);
	int dir;

	if (in != NULL && inbox_delivery_open(in, d, why) == 0)
		return in;
	inbox_release(&in, false);
	if ((dir = open_place(p)) < 0) {
		*why = strerror(errno);
		return NULL;
	}
	in = inboxes_open(inboxes, p->root, p->path, dir, why);
	if (in != NULL && is_foreign(p, in, dir)) {
		inbox_release(&in, false);
		errno = EPERM;
		*why = foreign;
	}
	sys_close(dir);
	if (in != NULL && inbox_delivery_open(in, d, why) < 0)
		inbox_release(&in, false);
	return in;
}

/* The parameter whose limit for a mailbox's file the message alone is above,
 * or NULL: each message is a file here. */
static const char *limit_passed(const struct delivery_job *j,
    const struct place *p)
{
	bool is_local = p->is_own || j->request->what == DELIVER_FILE;
	const struct params *params = service_params();
	int64_t limit = is_local ? params->mailbox_size_limit
	    : params->virtual_mailbox_limit;

	if (limit == 0 || (int64_t)j->reader.header.content_octets <= limit)
		return NULL;
	return is_local ? "mailbox_size_limit" : "virtual_mailbox_limit";
}

void deliver_maildir(struct delivery_job *j, struct deliver_reply *r)
{
	struct inbox *in = NULL;
	struct delivery *d = NULL;
	const char *why, *limit;
	bool damaged = false;
	struct place p;

	if (find_place(j, &p) < 0)
		failed(j, r, strerror(errno));
	else if ((limit = limit_passed(j, &p)) != NULL)
		deliver_outcome(r, AGENT_FAILED, "5.2.3",
		    arena_printf(j->arena, "message is larger than %s",
			limit));
	else if ((in = open_delivery(&p, &d, &why)) == NULL ||
	    copy_message(j, d, &damaged, &why) < 0 ||
	    delivery_commit(&d, &why) < 0)
		failed(j, r, why);
	else
		deliver_outcome(r, AGENT_SENT, "2.0.0",
		    STR("delivered to maildir"));
	r->file_damaged = damaged;
	delivery_abort(&d);
	/* whatever went wrong, the next one sees for itself */
	inbox_release(&in, r->status == AGENT_SENT);
}

int deliver_maildir_start(void)
{
	inboxes = inboxes_new(str_of(service_params()->myhostname),
	    INBOXES_OPEN);
	return inboxes != NULL ? 0 : -1;
}
