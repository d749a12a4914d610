/*
 * deliver_command - gives messages to commands and files that an alias or a
 * .forward names
 *
 * Hears from:  local (msgs/deliver.h)
 * Talks to:    the commands that it starts
 * Runs as:     the recipient, or default_privs for root's aliases; without
 *              new privileges, but with no wall around its files, since what
 *              it starts would be behind it too
 * Owns:        nothing
 * Start at:    deliver()
 * RFCs:        4155 (mbox); Maildir; sysexits(3)
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "local/deliver.h"
#include "service/service.h"

static void give_include(struct delivery_job *j, const char *path,
    struct deliver_reply *r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0) {
		deliver_failure(j, r, errno, path);
		return;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		deliver_failure(j, r, EINVAL, path);
		return;
	}
	deliver_give_text(j, fd, path, r);
}

static void deliver(struct delivery_job *j, struct deliver_reply *r)
{
	struct str box = j->request->mailbox;
	char *path = arena_cstr(j->arena, box);
	bool ok = path != NULL && !str_has_nul(box) && path[0] == '/';

	if (j->request->what == DELIVER_COMMAND)
		deliver_command(j, r);
	else if (j->request->what == DELIVER_FILE && ok &&
	    str_ends(box, STR("/")))
		deliver_maildir(j, r);
	else if (j->request->what == DELIVER_FILE && ok)
		deliver_mbox(j, AT_FDCWD, path, r);
	else if (j->request->what == DELIVER_INCLUDE && ok)
		give_include(j, path, r);
	else
		deliver_failure(j, r, EINVAL, "request");
}

static void converse(struct conv *c, const char *client)
{
	(void)client;
	deliver_converse(c, deliver);
}

static int start(void)
{
	tzset();
	umask(077);
	return deliver_maildir_start();
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "deliver_command",
		.start = start,
		.converse = converse,
	};

	return service_main(argc, argv, &service);
}
