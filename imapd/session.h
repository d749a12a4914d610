/*
 * session.h - one client's IMAP session
 *
 * State          Entered when                Leaves on
 * AUTHENTICATED  login handed it over        SELECT, EXAMINE, LOGOUT
 * SELECTED       a mailbox was opened        CLOSE, UNSELECT, a failed
 *                                            SELECT, LOGOUT
 * ENDED          LOGOUT, BYE, gone           (never)
 *
 * (RFC 3501 section 3; NOT AUTHENTICATED is `login`'s.) One thread serves a
 * session. A handler parses all of its command first, then acts, and says
 * what the tagged answer is; the answer goes out after the changes that the
 * mailbox went through meanwhile.
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H
#include <pthread.h>
#include "base/arena.h"
#include "base/buf.h"
#include "imapd/parse.h"
#include "net/stream.h"
#include "store/mailbox.h"
#include "store/store.h"

#define SESSION_BAD_MAX 20	/* refused commands in a row, then BYE */
#define SESSION_OUT_MAX (16 << 20)	/* octets of one response line */

struct session;

/* All sessions of the process, for who stops them. */
struct session_list {
	pthread_mutex_t lock;
	struct session *first;
};

/* What the sessions of this process share; constant after start. */
struct imapd_server {
	struct store *store;
	const char *user;		/* for the log */
	int64_t idle_timeout;		/* microseconds */
	uint64_t append_limit;		/* octets; 0: none */
	int stop_fd;			/* eventfd, readable once stopped */
	struct session_list *sessions;
};

enum session_state { SESSION_AUTHENTICATED, SESSION_SELECTED, SESSION_ENDED,
	SESSION_STATE_COUNT };

struct session {
	const struct imapd_server *server;
	struct session *next, **back;	/* in server->sessions */
	struct stream *stream;
	enum session_state state;
	struct parse parse;
	struct arena *arena;	/* of one command */
	unsigned bad_count;
	const char *ended_why;	/* for the log */
	char id[65];		/* login's name for the session, for the log */

	/* The command that is being answered. */
	struct str tag;
	bool uid;		/* UID FETCH etc. */
	const char *status;	/* "OK", "NO", "BAD" */
	struct str answer;

	/* SELECTED: the mailbox, and what the client knows of it. */
	struct mailbox *mailbox;
	uint32_t shown_count, shown_recent;
	uint64_t shown_keywords;	/* a digest of their names */
	bool deleted_told;	/* the mailbox itself went away */

	/* Reused by FETCH and the like; given back before a wait. */
	struct buf out;
};

/*
 * A session over this connection, which it owns from here on. `tag` is of
 * the command that logged in; its OK is the first thing that is sent.
 * `input` was read from the client before. NULL: no memory (logged; the
 * connection is closed).
 */
struct session *session_new(const struct imapd_server *, int connection,
    struct str tag, struct str input, struct str id);
/* Serves it to its end and frees it: what happened is in the log. */
void session_run(struct session *);
/* Ends all: with BYE where one waits for a command; one in the middle of a
 * command finds the end of its input. Any thread. 0 or -1 with errno. */
int session_stop_all(const struct imapd_server *);

/* The only function that sets the state. */
void session_enter(struct session *, enum session_state, const char *why);

/* The tagged answer. Texts start with a response code where there is one. */
void session_ok(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void session_no(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void session_bad(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The NO for a failure of the store: the response code for this errno
 * (RFC 5530), and why. */
void session_no_store(struct session *, int error, const char *why);
/* "* BYE text", and the session ends. */
void session_bye(struct session *, const char *text);
/* A line, with its CRLF put behind it. */
void session_say(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

enum session_wait {
	SESSION_INPUT,		/* the client said something, or is gone */
	SESSION_CHANGE,		/* `fd` is readable */
	SESSION_TICK,		/* the deadline passed */
	SESSION_STOP		/* the process is asked to end */
};

/* Flushes the output and waits. fd may be -1. */
enum session_wait session_wait(struct session *, int fd, int64_t deadline);

/* The capabilities as they stand in "CAPABILITY ..." (RFC 3501 7.2.1). */
void session_capabilities(const struct session *, struct buf *);

/* Writes what is in s->out, and empties it. A failed buffer is a failed
 * write: the session ends. */
void session_write_out(struct session *);
/* A mailbox name as an astring. */
void session_append_name(struct buf *, struct str);
/* True: nothing can be written any more, so long answers may stop. */
bool session_gone(const struct session *);

/* --- sync.c: what the client is told of the selected mailbox --- */

/*
 * Looks for changes and tells them: EXPUNGE (if allowed now), EXISTS and
 * RECENT, FLAGS when keywords came, FETCH for flags that others changed
 * (RFC 3501 5.2, 7.3, 7.4).
 */
void session_sync(struct session *, bool may_expunge);
/* FLAGS and PERMANENTFLAGS (RFC 3501 7.2.6, 7.1). */
void session_say_flags(struct session *);
/* The same, if there are keywords that the client does not know. */
void session_say_new_keywords(struct session *);
/* "(\Seen $Label)" of a message. */
void session_append_flags(const struct session *, struct buf *,
    struct mailbox_message);
/* Leaves SELECTED: closes the mailbox. */
void session_unselect(struct session *);

/* --- sets of messages --- */

/*
 * The messages that a set names in the selected mailbox, ascending, in the
 * arena. Numbers: RFC 3501 9 wants BAD for one that is not there; a range is
 * cut. UIDs: what is not there is passed over. -1 as parse_x().
 */
int session_find(struct session *, struct set *, uint32_t **seqs_r,
    size_t *count_r);
/*
 * A list of flags "(...)", or without parentheses when bare is allowed.
 * Keywords come as names; system flags as bits.
 */
struct flag_list {
	uint32_t flags;
	struct str *keywords;
	size_t keyword_count;
};
#define SESSION_KEYWORDS_MAX 6000	/* in one command */
int session_parse_flags(struct session *, bool bare, struct flag_list *);
#endif
