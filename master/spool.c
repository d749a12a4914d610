#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "master/master.h"

/* Makes a directory; owner and mode are set also when it is there. */
static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		goto fail;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		goto fail;
	if (fstat(fd, &st) < 0 ||
	    (uid != (uid_t)-1 && (st.st_uid != uid || st.st_gid != gid) &&
		fchown(fd, uid, gid) < 0) ||
	    ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)) {
		close(fd);
		goto fail;
	}
	close(fd);
	return 0;
fail:
	fprintf(stderr, "master: %s: %s\n", path, strerror(errno));
	return -1;
}

static int make_below(const char *dir, const char *name, mode_t mode,
    uid_t uid, gid_t gid)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return make_dir(path, mode, uid, gid);
}

static int parent_of(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path || (size_t)(slash - path) >= size)
		return -1;
	memcpy(out, path, (size_t)(slash - path));
	out[slash - path] = '\0';
	return 0;
}

static uid_t uid_of(const struct plan *plan, const char *program, gid_t *gid)
{
	return plan_uid(plan, sandbox_find(program), gid);
}

static int prepare_mail(const struct plan *plan)
{
	const char *base = plan->params.virtual_mailbox_base;
	struct stat st;

	if (base[0] == '\0' || stat(base, &st) == 0)
		return 0;
	/* its owner is the site's choice: only an instance of our own makes
	 * it (postern init), a missing one is an error that can be mended */
	fprintf(stderr, "master: virtual_mailbox_base %s: %s; make it, owned "
	    "by the user who owns the mail\n", base, strerror(errno));
	return -1;
}

int spool_prepare(const struct plan *plan)
{
	const struct params *p = &plan->params;
	uid_t me = master.privileged ? 0 : (uid_t)-1, qmgr, pickup, log;
	gid_t gq = 0, gp = 0, gl = 0;
	char dir[4096];

	qmgr = uid_of(plan, "qmgr", &gq);
	pickup = uid_of(plan, "pickup", &gp);
	log = uid_of(plan, "log", &gl);
	if (qmgr == (uid_t)-2 || pickup == (uid_t)-2 || log == (uid_t)-2)
		return -1;
	if (make_dir(p->queue_directory, 0711, qmgr, gq) < 0 ||
	    make_below(p->queue_directory, "public", 0755, me, 0) < 0 ||
	    make_below(p->queue_directory, "private", 0700, me, 0) < 0 ||
	    /* everybody may leave a message, nobody may list or take one;
	     * the group is inherited and marks what was made there */
	    make_below(p->queue_directory, "maildrop", 03733, pickup, gp) < 0 ||
	    make_dir(p->data_directory, 0755, me, 0) < 0 ||
	    make_below(p->data_directory, "empty", 0555, me, 0) < 0)
		return -1;
	if (p->maillog_file[0] == '/' &&
	    strncmp(p->maillog_file, "/dev/", 5) != 0 &&
	    parent_of(p->maillog_file, dir, sizeof(dir)) == 0 &&
	    strcmp(dir, "/var/log") != 0 &&
	    make_dir(dir, 0755, log, gl) < 0)
		return -1;
	if (prepare_mail(plan) < 0)
		return -1;
	return plan_bind_public((struct plan *)(uintptr_t)plan);
}

/* Directories outside the configuration's that tables are in. */
static int open_table_dir(const struct plan *plan, unsigned nth)
{
	static const char *const dirs[] = { "/etc" };

	(void)plan;
	errno = ENOENT;
	if (nth >= sizeof(dirs) / sizeof(dirs[0]))
		return -1;
	return open(dirs[nth], O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* A directory that only its owner may list is handed on without a look into
 * it: we have no capability to override that. */
static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == EACCES)
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

int spool_open_role(const struct plan *plan, const char *role, unsigned nth)
{
	const struct params *p = &plan->params;
	char path[4200] = "";

	if (strcmp(role, "tables") == 0 || strcmp(role, "accounts") == 0)
		return open_table_dir(plan, nth);
	errno = ENOENT;
	if (nth > 0)
		return -1;
	if (strcmp(role, "etc") == 0)
		return openat(master.config_fd, ".",
		    O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (strcmp(role, "spool") == 0)
		snprintf(path, sizeof(path), "%s", p->queue_directory);
	else if (strcmp(role, "maildrop") == 0 || strcmp(role, "public") == 0)
		snprintf(path, sizeof(path), "%s/%s", p->queue_directory,
		    role);
	else if (strcmp(role, "data") == 0)
		snprintf(path, sizeof(path), "%s", p->data_directory);
	else if (strcmp(role, "empty") == 0)
		snprintf(path, sizeof(path), "%s/empty", p->data_directory);
	else if (strcmp(role, "mail") == 0)
		snprintf(path, sizeof(path), "%s", p->virtual_mailbox_base);
	else if (strcmp(role, "mailspool") == 0)
		snprintf(path, sizeof(path), "%s", p->mail_spool_directory);
	else if (strcmp(role, "log") == 0 && p->maillog_file[0] == '/') {
		if (parent_of(p->maillog_file, path, sizeof(path)) < 0)
			return -1;
	}
	if (path[0] == '\0')
		return -1;
	return open_dir(path);
}
