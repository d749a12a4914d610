/*
 * maildir.h - directories and file names of Maildir (inside lib/store)
 *
 * A file's name is BASE or BASE:2,FLAGS. The base stays for life; ,S=n and
 * ,W=n in it are the sizes with LF and with CR LF line ends.
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H
#include <limits.h>
#include "base/str.h"
#include "store/mbname.h"
#include "store/store.h"

#define MAILDIR_HOST_MAX 64
#define MAILDIR_NAME_MAX 255

struct store {
	int root;
	char host[MAILDIR_HOST_MAX + 1];
};
/* What may stand in a file name of it; "localhost" when it is empty. */
void store_set_host(struct store *, struct str host);

/* Sets *why_r and errno; gives -1. */
int store_fail(const char **why_r, int err, const char *why);
/* The sentence for an errno of a file operation. */
int store_fail_errno(const char **why_r, const char *what);

/* The open directories of a mailbox. */
struct maildir {
	int dir, tmp, fresh, cur;	/* fresh: new/ */
};

/*
 * Opens them; missing tmp/, new/ and cur/ of an existing mailbox are made.
 * ENOENT when there is no such mailbox.
 */
int maildir_open(const struct store *, const struct mbname *,
    struct maildir *, const char **why_r);
void maildir_close(struct maildir *);
struct delivery;
/* delivery_open() in a Maildir that is open and stays the caller's; the tmp
 * and fresh of it are used. For a delivery_commit(), not an append. */
int delivery_open_in(const struct store *, const struct maildir *,
    struct delivery **delivery_r, const char **why_r);
/* Makes tmp/ new/ cur/ below dir where missing; syncs dir if it made any.
 * anew: looks for each, else only whether cur/ is there. */
int maildir_make_dirs(int dir, bool anew);
/* Removes what was left in tmp/ 36 hours ago. */
void maildir_clean_tmp(const struct maildir *);
/* Empties and removes the directory `name` below parent, two levels deep. */
int maildir_remove_tree(int parent, const char *name);

/* Renames; EEXIST when `to` exists, whatever the file system can. */
int maildir_rename_new(int from_dir, const char *from, int to_dir,
    const char *to);

/* time.M<usec>P<pid>Q<count>.host, never twice in a process. */
void maildir_unique(const struct store *, char *out, size_t size);

struct maildir_name {
	struct str base;
	int64_t seconds, micros;	/* 0 when it does not start so */
	int64_t size, wire;		/* S=, W=; -1 when missing */
};
void maildir_name_parse(struct str name, struct maildir_name *);
/* Octets of the base in a file name. */
size_t maildir_base_len(struct str name);
/* Can it be a message's? No leading dot, no control octets, fits. */
bool maildir_name_is_ok(const char *name, size_t n);
/* enum mailbox_flag bits and letters a-z (bit 0..25) of a file name. */
void maildir_name_flags(struct str name, uint32_t *flags_r,
    uint32_t *letters_r);
/*
 * base:2,FLAGS into out[MAILDIR_NAME_MAX + 1]: flags and letters as given,
 * other capitals of `old` are kept. -1 when it does not fit.
 */
int maildir_name_build(struct str old, uint32_t flags, uint32_t letters,
    char *out);
#endif
