#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/sys.h"
#include "local/deliver.h"
#include "service/service.h"
#include "store/delivery.h"
#include "store/store.h"

#define PIECE 65536

/*
 * Opens the user's directory below the root, without following a link and
 * without leaving it; makes what is missing.
 */
static int open_user_dir(struct delivery_job *j)
{
	const int flags = O_RDONLY | O_DIRECTORY;
	char *dir = arena_cstr(j->arena, j->request->dir), *slash;
	int fd, root = j->root;

	if (dir == NULL || str_has_nul(j->request->dir)) {
		errno = EINVAL;
		return -1;
	}
	if (dir[0] == '/') { /* a home directory: we are confined to it */
		dir = arena_cstr(j->arena, j->request->mailbox);
		if (dir == NULL) {
			errno = ENOMEM;
			return -1;
		}
		if (dir[0] == '\0')
			return sys_open_beneath(root, ".", flags, 0);
		if (dir[0] == '/') { /* among all mailboxes */
			root = service_dir("mailspool");
			dir++;
		}
		dir[strlen(dir) - 1] = '\0'; /* the / that says Maildir */
	}
	fd = sys_open_beneath(root, dir, flags, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	for (slash = strchr(dir, '/'); ; slash = strchr(slash + 1, '/')) {
		int parent;

		if (slash != NULL)
			*slash = '\0';
		if (sys_mkdirat(root, dir, 0700) < 0 && errno != EEXIST)
			return -1;
		/* the name of a new directory must be durable too */
		parent = sys_fsync_dir(root, ".");
		if (parent < 0)
			return -1;
		if (slash == NULL)
			break;
		*slash = '/';
	}
	return sys_open_beneath(root, dir, flags, 0);
}

/* The words say more than errno, whose number says who can mend it. */
static void failed(struct delivery_job *j, struct deliver_reply *r,
    const char *why)
{
	deliver_failure(j, r, errno, "maildir delivery failed");
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

void deliver_maildir(struct delivery_job *j, struct deliver_reply *r)
{
	const char *why = "cannot open the mailbox";
	struct store *s = NULL;
	struct delivery *d = NULL;
	bool damaged = false;
	int dir = open_user_dir(j);

	if (dir < 0) {
		deliver_failure(j, r, errno, "maildir delivery failed");
		return;
	}
	/* what is missing of the Maildir is made when it is opened */
	if (store_open(dir, str_of(service_params()->myhostname), false, &s,
		&why) < 0 ||
	    delivery_open(s, STR("INBOX"), &d, &why) < 0 ||
	    copy_message(j, d, &damaged, &why) < 0 || delivery_commit(&d, &why) < 0)
		failed(j, r, why);
	else
		deliver_outcome(r, AGENT_SENT, "2.0.0",
		    STR("delivered to maildir"));
	r->file_damaged = damaged;
	delivery_abort(&d);
	store_close(&s);
	close(dir);
}
