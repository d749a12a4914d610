/*
 * imap_command.h - one IMAP command before login, with its literals
 *
 * RFC 3501 9 as far as CAPABILITY, LOGIN, AUTHENTICATE and ID need it:
 * atoms, quoted strings, literals (RFC 7888 too), one level of parentheses.
 */
#ifndef LOGIN_IMAP_COMMAND_H
#define LOGIN_IMAP_COMMAND_H
#include "base/arena.h"
#include "net/stream.h"

#define IMAP_TAG_MAX 126
#define IMAP_ARGS_MAX 80

enum imap_arg_kind { IMAP_ATOM, IMAP_STRING, IMAP_OPEN, IMAP_CLOSE };

struct imap_arg {
	enum imap_arg_kind kind;
	struct str text;
};

struct imap_command {
	struct str tag;		/* "*" when it had none that may be sent back */
	struct str name;
	struct imap_arg args[IMAP_ARGS_MAX];
	size_t count;
	struct str line;	/* the first line, for a look at it */
};

enum imap_read {
	IMAP_READ_OK,
	IMAP_READ_BAD,		/* *why_r for a BAD */
	IMAP_READ_BYE,		/* *why_r for a BYE, then close */
	IMAP_READ_CLOSED	/* *result_r */
};

struct imap_limits {
	size_t line, literals;	/* octets of a line; of all literals */
};

/* Everything is in the arena. Sends the continuation request of literals. */
enum imap_read imap_command_read(struct stream *, struct arena *,
    const struct imap_limits *, struct imap_command *, const char **why_r,
    enum stream_result *result_r);
#endif
