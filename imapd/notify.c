#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "base/sys.h"
#include "imapd/notify.h"
#include "store/mbname.h"

/*
 * Names are relative to the working directory, which main() made the store's
 * root: the descriptor's path in /proc is closed to a process that is not
 * dumpable.
 */
static int watch_directory(int fd, const char *dir, const char *name)
{
	char path[MBNAME_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return inotify_add_watch(fd, path, IN_CREATE | IN_DELETE |
	    IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR |
	    IN_DONT_FOLLOW) < 0 ? -1 : 0;
}

void notify_open(struct notify *w, const struct session *s)
{
	struct mbname name;

	w->fd = -1;
	if (s->mailbox == NULL ||
	    mbname_parse(mailbox_name(s->mailbox), &name, NULL) < 0)
		return;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd >= 0 && (watch_directory(w->fd, name.dir, "new") < 0 ||
	    watch_directory(w->fd, name.dir, "cur") < 0))
		notify_close(w);
}

void notify_close(struct notify *w)
{
	if (w->fd >= 0)
		sys_close(w->fd);
	w->fd = -1;
}

bool notify_works(const struct notify *w)
{
	return w->fd >= 0;
}

int notify_fd(const struct notify *w)
{
	return w->fd;
}

void notify_clear(const struct notify *w)
{
	char events[4096];

	while (w->fd >= 0 && read(w->fd, events, sizeof(events)) > 0)
		;
}
