/*
 * deliver - puts messages into mailboxes, with the rights of their owner
 *
 * Hears from:  local (msgs/deliver.h)
 * Talks to:    nobody
 * Runs as:     the recipient, confined to the mail root (for a shared mail
 *              uid) or to the home directory and mail_spool_directory
 * Owns:        nothing
 * Start at:    deliver()
 * RFCs:        5321 (4.4 Return-Path, 6.3 loops), 4155 (mbox), Maildir
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "local/deliver.h"
#include "service/service.h"

static atomic_size_t conversations;
static atomic_bool outdated;

static void deliver_mailbox(struct delivery_job *j, struct deliver_reply *r)
{
	struct str box = j->request->mailbox;
	char *path = arena_cstr(j->arena, box);
	int spool = service_dir("mailspool");

	if (path == NULL || str_has_nul(box)) {
		deliver_failure(j, r, EINVAL, "mailbox");
	} else if (box.n > 0 && box.p[0] == '/' && spool < 0) {
		deliver_outcome(r, AGENT_DEFERRED, "4.3.5", STR("there is no "
		    "mail_spool_directory; make it, or set home_mailbox"));
	} else if (j->root < 0 && (box.n == 0 || box.p[0] != '/')) {
		deliver_outcome(r, AGENT_DEFERRED, "4.2.0",
		    arena_printf(j->arena, "there is no home directory "
			STR_FMT, STR_ARG(j->request->dir)));
	} else if (box.n == 0 || str_ends(box, STR("/"))) {
		deliver_maildir(j, r);
	} else if (box.p[0] != '/') {
		deliver_mbox(j, j->root, path, r);
	} else { /* "/name": in the directory of all mailboxes */
		deliver_mbox(j, spool, path + 1, r);
	}
}

/* A home is a process's own; the mail root is that of all others. What was
 * meant for another's process must not end here. */
static bool is_for_us(const struct deliver_request *q)
{
	const char *home = service_dir_arg();

	return home[0] == '/' ? str_eq_c(q->dir, home)
	    : q->dir.n > 0 && q->dir.p[0] != '/';
}

/*
 * A home that was not there when the walls were put up is behind them. Once it
 * is there a process that has it is to serve its user, and this one ends with
 * the last delivery that it is at.
 */
static bool is_outdated(const struct delivery_job *j)
{
	struct stat st;

	return j->root < 0 && stat(service_dir_arg(), &st) == 0 &&
	    S_ISDIR(st.st_mode) && access(service_dir_arg(), R_OK) == 0;
}

static void deliver(struct delivery_job *j, struct deliver_reply *r)
{
	if (!is_for_us(j->request)) {
		log_warn("a delivery to " STR_FMT " came to the wrong "
		    "process", STR_ARG(j->request->dir));
		deliver_failure(j, r, EINVAL, "directory");
		return;
	}
	if (is_outdated(j)) {
		atomic_store(&outdated, true);
		j->passed_on = true;
		return;
	}
	if (j->request->what == DELIVER_FORWARD) {
		deliver_forward(j, r);
		return;
	}
	if (j->request->what != DELIVER_MAILBOX) {
		deliver_failure(j, r, EINVAL, "request");
		return;
	}
	switch (deliver_is_loop(j)) {
	case 1:
		deliver_outcome(r, AGENT_FAILED, "5.4.6",
		    arena_printf(j->arena, "mail forwarding loop for "
			STR_FMT, STR_ARG(j->request->rcpt)));
		return;
	case 0:
		deliver_mailbox(j, r);
		return;
	default:
		return;
	}
}

static void converse(struct conv *c, const char *client)
{
	(void)client;
	atomic_fetch_add(&conversations, 1);
	deliver_converse(c, deliver);
	if (atomic_fetch_sub(&conversations, 1) == 1 && atomic_load(&outdated))
		_exit(0);
}

static int start(void)
{
	tzset(); /* the zone's file, while it can be opened */
	return deliver_maildir_start();
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "deliver",
		.start = start,
		.converse = converse,
		.without_home = true,
	};

	return service_main(argc, argv, &service);
}
