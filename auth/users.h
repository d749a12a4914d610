/*
 * users.h - the users: a passwd-file, and the system's
 *
 * Its lines: lib/config/users_file.h. It is read again when it changed,
 * looked at once a second at most; one that cannot be read leaves the last
 * good one in force.
 */
#ifndef AUTH_USERS_H
#define AUTH_USERS_H
#include <sys/types.h>
#include "base/str.h"
#include "config/users_file.h"

struct user {
	char name[USERS_NAME_MAX];	/* lower case */
	char hash[USERS_HASH_MAX];	/* "" : no login */
	uid_t uid;
	gid_t gid;
	bool is_virtual;		/* dir is below the mail root */
	char dir[USERS_DIR_MAX];
};

struct users_options {
	int dirfd;		/* path is relative to it */
	const char *path;
	const char *mail_root;	/* virtual_mailbox_base */
	const char *mail_uid;	/* name, number, "uid:gid" or "" */
	const char *default_domain; /* completes a login without one, or "" */
	uid_t minimum_uid;
	bool one_uid;		/* unprivileged: everything is ours */
};

enum users_found { USERS_YES, USERS_NO, USERS_UNAVAILABLE };

struct users;

/* Reads it a first time (a failure is in the log, and tried again). Strings
 * in options are kept. NULL: no memory. */
struct users *users_new(const struct users_options *);
void users_free(struct users **);
/* A virtual user by address, or a system user by name. Thread-safe. */
enum users_found users_find(struct users *, struct str name,
    struct user *user_r);
/* As users_find(), but a name without @ may be completed. */
enum users_found users_find_login(struct users *, struct str name,
    struct user *user_r);
/* A hash that costs what most of the file's users' do, for checking the
 * password of one who does not exist in the same time; "" when none has a
 * hash. Users with another cost can be told from both. */
void users_example_hash(struct users *, char out[USERS_HASH_MAX]);
#endif
