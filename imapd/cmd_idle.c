/* IDLE (RFC 2177) */
#include "imapd/notify.h"

/* Without inotify, or where it may miss something (a network's file
 * system): the mailbox is looked at so often. */
#define LOOK_EVERY (30 * CLOCK_SECOND)
#define LOOK_EVERY_WITHOUT (2 * CLOCK_SECOND)
/* Changes come in bursts: this long more are waited for. */
#define SETTLE (50 * CLOCK_MS)

static int read_done(struct session *s)
{
	if (parse_next_line(&s->parse) < 0)
		return -1;
	if (!str_eq_nocase_c(s->parse.line, "DONE"))
		return parse_fail(&s->parse, "Expected DONE");
	return 0;
}

/* True: the client said something (or is gone). */
static bool idle(struct session *s, const struct notify *w)
{
	int64_t until = clock_now() + s->server->idle_timeout;
	int64_t every = notify_works(w) ? LOOK_EVERY : LOOK_EVERY_WITHOUT;

	for (;;) {
		int64_t look = clock_now() + every;

		if (s->state != SESSION_SELECTED)
			look = CLOCK_NEVER;
		switch (session_wait(s, notify_fd(w),
		    look < until ? look : until)) {
		case SESSION_INPUT:
			return true;
		case SESSION_STOP:
			session_bye(s, "[UNAVAILABLE] Server is shutting "
			    "down");
			return false;
		case SESSION_CHANGE:
			if (session_wait(s, -1, clock_now() + SETTLE) ==
			    SESSION_INPUT)
				return true;
			notify_clear(w);
			break;
		case SESSION_TICK:
			if (clock_now() < until)
				break;
			session_bye(s, "Autologout, idle for too long");
			return false;
		}
		session_sync(s, true);
	}
}

int cmd_idle(struct session *s)
{
	struct notify watch;
	bool said;

	if (parse_end(&s->parse) < 0)
		return -1;
	notify_open(&watch, s);
	/* What came before the watch stood. */
	session_say(s, "+ idling");
	session_sync(s, true);
	said = idle(s, &watch);
	notify_close(&watch);
	if (!said || session_gone(s))
		return 0;
	if (read_done(s) < 0)
		return -1;
	session_ok(s, "Idle completed");
	return 0;
}
