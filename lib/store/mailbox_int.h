/* mailbox_int.h - the selected mailbox from inside (lib/store only) */
#ifndef STORE_MAILBOX_INT_H
#define STORE_MAILBOX_INT_H
#include "store/scan.h"

struct mailbox {
	const struct store *store;
	struct mbname name;
	enum mailbox_mode mode;
	struct maildir md;
	struct uidlist *list;
	size_t visible;		/* messages that the session knows */
	uint32_t recent;
	char *scratch;		/* a small message's text */
	size_t scratch_room;
};

/*
 * Locks, takes in what others logged and what the directories show (force:
 * read them in any case). On 0 the caller unlocks the list.
 */
int mailbox_lock_and_scan(struct mailbox *, bool force, const char **why_r);
/* The index of seq when the message is there, or -1 with ENOENT. */
ssize_t mailbox_index(const struct mailbox *, uint32_t seq);
/* The directory that a message's file is in. */
int mailbox_dir_of(const struct mailbox *, const struct uidlist_message *);
/* Looks for a message whose file was not where the list has it. */
int mailbox_look_again(struct mailbox *, const char **why_r);
/* Notes a date or size to be written when the list is locked anyway. */
void mailbox_note_info(struct mailbox *, struct uidlist_message *);
#endif
