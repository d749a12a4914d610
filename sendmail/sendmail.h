/* sendmail.h - between the files of the program `sendmail` */
#ifndef SENDMAIL_SENDMAIL_H
#define SENDMAIL_SENDMAIL_H
#include <sysexits.h>
#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"
#include "config/params.h"
#include "ipc/conv.h"
#include "msgs/pickup.h"

/* What of a message is kept in memory, so that it can be left in maildrop/
 * when the suite ends while it is handed over; what is longer streams. */
#define MESSAGE_KEPT (1024 * 1024)

enum mode { MODE_ENQUEUE, MODE_SMTP, MODE_LIST, MODE_ALIASES, MODE_DAEMON,
	MODE_FOREGROUND, MODE_VERIFY, MODE_FLUSH, MODE_FLUSH_ID,
	MODE_FLUSH_SITE, MODE_NOTHING };

/* The command line, read. */
struct options {
	enum mode mode;
	const char *config_dir;
	bool from_header;	/* -t */
	bool ignore_dots;	/* -i, -oi */
	bool gateway;		/* -G */
	bool verbose;		/* -v */
	bool has_sender;
	const char *sender;	/* -f; "" is null */
	const char *full_name;	/* -F, or NAME in the environment */
	const char *flush;	/* id or site */
	const char *alias_file;	/* -oA */
	uint64_t notify, ret, flags;
	const char *envid;
	char **rcpts;		/* what is left of argv */
	int rcpt_count;
};

/* 0, or the exit code (it complained). */
int options_read(struct options *, int argc, char **argv);

/* --- the message --- */

/* Standard input as a message: where it ends, and nothing else. */
struct input {
	int fd;
	bool ignore_dots;
	bool ended;
	bool failed;		/* read error; errno was told */
	int state;		/* of the search for "." alone */
	size_t at, n;		/* of room */
	char room[65536];
};

void input_init(struct input *, int fd, bool ignore_dots);
/* Appends at least one octet, unless it has ended or out is full; at most
 * until out holds `most`. 0, or -1: read error (errno). */
int input_read(struct input *, struct buf *out, size_t most);

struct message {
	struct arena *arena;
	struct input input;
	struct buf content;	/* the first octets: MESSAGE_KEPT at most */
	struct str sender;
	struct strs rcpts;
	const struct options *options;
	int64_t size_limit;	/* 0: none */
};

/* Reads the first part of standard input, finds sender and recipients,
 * adds From:. 0 or the exit code (it complained). */
int message_read(struct message *, const struct options *,
    const struct config *);
/* The envelope in the form of msgs/pickup.h; recipients beyond the first
 * packet's come one packet after the other: false at the end. */
void message_envelope(const struct message *, struct pickup_submit *,
    size_t *next_rcpt);
bool message_more_rcpts(const struct message *, size_t *next_rcpt,
    struct strs *);

/* --- ways out --- */

/* A connection to pickup, or NULL: it does not run. */
struct conv *send_connect(const char *queue_directory);
/*
 * Hands the message over. Returns the exit code, or -1 when it was not taken
 * and another way may be tried (nothing was read that is not in `content`).
 */
int send_message(struct conv *, struct message *);
/* Leaves it in maildrop/. The exit code. */
int drop_message(const char *queue_directory, struct message *);

/* "sendmail: fatal: text" to standard error. Returns code. */
int complain(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#endif
