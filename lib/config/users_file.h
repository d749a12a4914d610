/*
 * users_file.h - the users file, as auth obeys it and postern check judges it
 *
 * A line is  name:{SCHEME}hash:uid:gid:gecos:home:...  ; lines that are empty
 * or begin with # are skipped. A name with @ is a virtual user; its home is
 * below the mail root (empty: <domain>/<localpart>) unless it is absolute and
 * elsewhere. Empty uid and gid: mail_uid.
 */
#ifndef CONFIG_USERS_FILE_H
#define CONFIG_USERS_FILE_H
#include <sys/types.h>
#include "base/arena.h"
#include "base/map.h"

#define USERS_NAME_MAX 512
#define USERS_HASH_MAX 512
#define USERS_DIR_MAX 1024
#define USERS_FILE_MAX (256 * 1024 * 1024)

/* What the configuration says of lines that leave something out. */
struct users_rules {
	const char *mail_root;	/* virtual_mailbox_base, or "" */
	uid_t mail_uid;		/* -1: none */
	gid_t mail_gid;
	bool one_uid;		/* unprivileged: everything is ours */
};

/* A user of the file. */
struct users_row {
	struct str name;	/* lower case */
	struct str hash;
	uid_t uid;
	gid_t gid;
	bool is_virtual;	/* dir is below the mail root */
	struct str dir;
};

/* Who is told of lines. */
struct users_reader {
	/* A row that was taken, in the file's order; NULL: nobody asks. */
	void (*taken)(void *ctx, const struct users_row *);
	/* A line (from 1) that was not, and why. */
	void (*skipped)(void *ctx, unsigned line, const char *why);
	void *ctx;
};

/* The owner of virtual users' mail from mail_uid: a name, a number, "uid:gid"
 * or "" (both -1). 0, or -1: there is no such user (both -1, or what of the
 * gid is known). */
int users_mail_owner(const char *mail_uid, uid_t *uid_r, gid_t *gid_r);
/* A size of the arena with room for the rows of a text of n octets. */
size_t users_arena_size(size_t n);
/* Every line of the text into `rows`: a struct users_row by name, in the
 * arena; its views are into both arena and text. 0, or -1 with ENOMEM. */
int users_file_parse(const struct users_rules *, struct str text,
    struct arena *, struct map *rows, const struct users_reader *);
/* What mends a line that was skipped for this reason, or NULL. */
const char *users_file_remedy(const char *why);
#endif
