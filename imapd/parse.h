/*
 * parse.h - one tokenizer for all IMAP commands (RFC 3501 section 9)
 *
 * The parser pulls: it reads a line when a command starts, and a literal and
 * the line behind it when the grammar comes to one, so a "+" is only sent
 * for a literal that somebody wants, and nothing is ever allocated from an
 * announced size that passes a limit.
 *
 * Every parse_x() returns 0, or -1 with the reason in p->why (the text of
 * the BAD) or, when the connection is over, with p->gone set. What it gives
 * lives in the command's arena. After -1 the caller asks parse_skip() for
 * the rest of the command.
 */
#ifndef IMAPD_PARSE_H
#define IMAPD_PARSE_H
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"
#include "mail/date.h"

#define PARSE_LINE_MAX 65534		/* octets of one line */
#define PARSE_LITERAL_MAX 65536		/* of one literal outside APPEND */
#define PARSE_LITERALS_MAX 1000		/* literals in one command */
#define PARSE_COMMAND_MAX (1 << 20)	/* octets of one command */
#define PARSE_SKIP_MAX (1 << 20)	/* octets dropped after an error */
#define PARSE_ARENA_MAX (24 << 20)	/* memory of one command */
#define PARSE_DEPTH_MAX 64		/* parentheses, NOT, OR */
#define PARSE_ITEMS_MAX 16384		/* members of one list */
#define PARSE_TAG_MAX 126

enum parse_read {
	PARSE_READ_OK,
	PARSE_READ_GONE,	/* end of input, error, deadline */
	PARSE_READ_LONG,	/* the line passes the limit */
};

/* Where octets come from. */
struct parse_source {
	/* The next line without its CR LF (or LF); valid until the next
	 * call of any function here. */
	enum parse_read (*line)(void *ctx, size_t max, struct str *line_r);
	/* Exactly n octets into p; p NULL drops them. 0, or -1: gone. */
	int (*octets)(void *ctx, char *p, uint64_t n);
	/* Asks for a synchronising literal ("+ ..."). 0, or -1: gone. */
	int (*go_ahead)(void *ctx);
};

struct parse {
	const struct parse_source *source;
	void *ctx;
	struct arena *arena;
	struct str line;	/* the current line, in the arena */
	size_t at;		/* where in it */
	const char *why;	/* after -1 */
	bool gone;
	bool too_long;		/* a line was not kept: no way on */
	unsigned literals;
	uint64_t octets;	/* of this command so far */
	unsigned depth;
};

/* Members [lo, hi]; before set_resolve() 0 stands for "*". */
struct range {
	uint32_t lo, hi;
};

struct set {
	struct range *r;
	size_t n;
};

/* Starts a command: resets the arena and reads its first line. */
int parse_begin(struct parse *);
/*
 * After an error: reads and drops what belongs to the command, literals
 * {n+} with the lines behind them. 0, or -1 when the connection cannot go
 * on: gone, or more than PARSE_SKIP_MAX octets (why says so).
 */
int parse_skip(struct parse *);
/* Fails with this reason: always -1. */
int parse_fail(struct parse *, const char *why);

/* The next octet of the line, or -1 at its end. */
int parse_peek(const struct parse *);
bool parse_at_end(const struct parse *);
/* Takes the octet c if it is next. */
bool parse_try(struct parse *, char c);
/* Takes the word, in any case, if it is next and no atom goes on. */
bool parse_try_word(struct parse *, const char *word);
int parse_char(struct parse *, char c);
int parse_space(struct parse *);
/* Nothing may follow. */
int parse_end(struct parse *);

int parse_tag(struct parse *, struct str *);
int parse_atom(struct parse *, struct str *);
/* quoted or literal; NUL is refused. */
int parse_string(struct parse *, struct str *);
/* NIL gives p NULL. */
int parse_nstring(struct parse *, struct str *);
int parse_astring(struct parse *, struct str *);
/* mailbox: INBOX in any case becomes "INBOX". */
int parse_mailbox(struct parse *, struct str *);
/* list-mailbox: as astring, with % and *. */
int parse_list_mailbox(struct parse *, struct str *);
/* Decimal, at most max; nz: not 0. */
int parse_number(struct parse *, uint64_t max, uint64_t *);
int parse_nz_number(struct parse *, uint32_t *);
/* sequence-set, as written. */
int parse_set(struct parse *, struct set *);
/* What the next word looks like: does a sequence-set start here? */
bool parse_at_set(const struct parse *);
/* A flag: "\Seen" or "keyword"; not "\Recent", not "\*". */
int parse_flag(struct parse *, struct str *);
/* date: days since 1970-01-01 (of a day, without a zone). */
int parse_date(struct parse *, int64_t *days_r);
/* date-time of APPEND. */
int parse_date_time(struct parse *, struct mail_date *);
/*
 * The literal of APPEND, whose octets stay in the stream: its size and
 * whether the client waits for "+". "~{" is refused.
 */
int parse_literal_head(struct parse *, uint64_t *size_r, bool *waits_r);
/* After the octets of such a literal were read: the line behind them. */
int parse_next_line(struct parse *);
/* Parentheses and prefixes: every enter has its leave. */
int parse_enter(struct parse *);
void parse_leave(struct parse *);

/*
 * Puts `last` for "*", turns ranges the right way round, sorts and merges
 * them. last 0 (an empty mailbox) leaves only what was given in numbers.
 */
void set_resolve(struct set *, uint32_t last);
bool set_has(const struct set *, uint32_t);	/* resolved sets */
#endif
