/* users.h - where a user's mail lives, as `auth` says it */
#ifndef LOCAL_USERS_H
#define LOCAL_USERS_H
#include "ipc/conv.h"

struct user {
	struct str address;	/* canonical */
	struct str dir;		/* below the mail root, or a home */
	bool is_virtual;
	uint64_t uid;
	size_t process;		/* which of those that users_open() knows */
};

enum users_status { USERS_FOUND, USERS_UNKNOWN, USERS_TEMPFAIL };

/*
 * Which process: `deliver`, or `deliver_command` when command is set.
 * Asks auth, or takes an answer that is younger than USERS_FRESH. `anew`:
 * what is remembered did not work (the process has ended): ask. Strings are
 * in the arena. why_r: for a temporary failure.
 */
#define USERS_FRESH_SECONDS 2
enum users_status users_find(struct str address, bool command, bool anew,
    struct arena *, struct user *user_r, const char **why_r);

/* A conversation with his `deliver` or `deliver_command`. */
struct talk {
	struct conv *conv;
	struct way *way;
};
/* 0; -1: the process is gone, or full beyond the deadline (clock_now()). */
int users_open(const struct user *, int64_t deadline, struct talk *);
/* whole: no exchange was broken off (conv_keep()). */
void users_close(struct talk *, bool whole);
#endif
