/*
 * deliver_forward.c - the user's .forward, read with his own rights
 *
 * It names commands and files, so that it counts only when nobody but the
 * user can have written it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "config/expand.h"
#include "config/params.h"
#include "local/deliver.h"
#include "service/service.h"

/* $home, $user, $extension ...: local put them into the environment. */
static bool find_name(struct str name, struct str *value, void *ctx)
{
	const struct deliver_request *q = ctx;

	for (size_t i = 0; i < q->environment.n; i++) {
		struct str rest = q->environment.v[i], word;

		if (str_split(&rest, '=', &word) && str_eq(word, name)) {
			*value = rest;
			return true;
		}
	}
	return false;
}

/* Opens what the user alone can have written; -1: ENOENT when there is none,
 * EPERM when it does not count. */
static int open_forward(struct delivery_job *j, const char *path)
{
	int fd = sys_open_beneath(j->root, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st, home;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && fstat(j->root, &home) == 0 &&
	    S_ISREG(st.st_mode) &&
	    (st.st_uid == geteuid() || st.st_uid == 0) &&
	    !(st.st_mode & (S_IWGRP | S_IWOTH)) &&
	    !(home.st_mode & S_IWOTH))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

/* One of forward_path. True when that was it, for better or worse. */
static bool try_path(struct delivery_job *j, struct str word,
    struct deliver_reply *r)
{
	struct str home = j->request->dir, path;
	const char *why, *name;
	struct buf b;
	int fd;

	buf_init(&b, 4096);
	if (expand_text(word, find_name, (void *)(uintptr_t)j->request, &b,
		&why) < 0) {
		log_warn("forward_path: %s", why);
		buf_fini(&b);
		return false;
	}
	path = arena_str(j->arena, buf_str(&b));
	buf_fini(&b);
	/* an extension with a slash must not lead elsewhere */
	if (!str_starts(path, home) || path.n <= home.n + 1 ||
	    path.p[home.n] != '/' || str_has_nul(path))
		return false;
	name = path.p + home.n + 1;
	if ((fd = open_forward(j, name)) >= 0) {
		deliver_give_text(j, fd, name, r);
		return true;
	}
	if (errno == EPERM) {
		log_warn("uid=%u: %s is not used: its owner or its mode, or "
		    "that of the home directory, lets others write it",
		    (unsigned)geteuid(), path.p);
		return false;
	}
	if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
	    errno == EACCES || errno == EXDEV)
		return false;
	deliver_failure(j, r, errno, name);
	return true;
}

void deliver_forward(struct delivery_job *j, struct deliver_reply *r)
{
	struct str rest = str_of(service_params()->forward_path), word;

	deliver_outcome(r, AGENT_SENT, "2.0.0", STR_NONE);
	if (j->request->dir.n == 0 || j->request->dir.p[0] != '/' ||
	    j->root < 0)
		return;
	while (param_word(&rest, true, &word))
		if (try_path(j, word, r))
			return;
}
