/* password.h - is it the password that belongs to this hash? */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H
#include "base/str.h"

/* Before other threads: how many hashes are computed at a time. */
void password_set_workers(unsigned count);

enum password_result { PASSWORD_RIGHT, PASSWORD_WRONG, PASSWORD_BUSY,
	PASSWORD_UNKNOWN_SCHEME };

/*
 * `stored`: crypt(3) ("$y$", "$2b$", "$6$", "$5$", ...), with or without
 * {CRYPT} or {X-CRYPT} in front, or {PLAIN}text. Waits for a worker until
 * the deadline (PASSWORD_BUSY).
 */
enum password_result password_check(struct str stored, struct str password,
    int64_t deadline);
/* Does a check against it cost a hash? Not {PLAIN}, "!", "*". */
bool password_is_hashed(struct str stored);
/* What the time of a check depends on: "$y$j9T$", "$6$rounds=5000$",
 * "$2b$12$"; a view into `stored`. */
struct str password_cost(struct str stored);
/* As long as a check against `example` takes, and then no. "" : a default
 * of the same strength as `postern user` makes. */
void password_check_nobody(struct str example, struct str password,
    int64_t deadline);
#endif
