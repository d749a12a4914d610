#include <sys/mount.h>
#include <sys/stat.h>
#include "fixture.h"
#include "store/wire.h"

static void check_flags(const struct mailbox *mb, uint32_t seq,
    uint32_t flags)
{
	assert_int_equal(mailbox_get(mb, seq).flags & MAILBOX_STORED_FLAGS,
	    flags);
}

static void mail_gets_uids_in_order_of_arrival(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	char text[30];

	other_writes(f, "new/2000.M5P1Q1.x", "third\n");
	other_writes(f, "new/1000.M9P1Q1.x", "second\n");
	other_writes(f, "cur/1000.M8P1Q1.x:2,S", "first\n");
	other_writes(f, "new/.hidden", "none\n");
	other_writes(f, "new/with\nnewline", "none\n");
	mkdirat(f->root, "new/3000.dir", 0700);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(mb), 3);
	assert_int_equal(mailbox_uidnext(mb), 4);
	for (uint32_t i = 1; i <= 3; i++) {
		struct mailbox_text t;

		snprintf(text, sizeof(text), "%s\n", i == 1 ? "first"
		    : i == 2 ? "second" : "third");
		assert_int_equal(mailbox_get(mb, i).uid, i);
		assert_int_equal(mailbox_text_open(mb, i, &t, NULL), 0);
		assert_true(str_eq_c(t.raw, text));
		assert_int_equal(t.wire, strlen(text) + 1);
		mailbox_text_close(mb, &t);
	}
	check_flags(mb, 1, MAILBOX_SEEN);
	check_flags(mb, 2, 0);
	/* What was in new/ is in cur/ now, and recent here. */
	assert_true(is_there(f, "cur/2000.M5P1Q1.x:2,"));
	assert_int_equal(mailbox_recent(mb), 2);
	assert_int_equal(mailbox_first_unseen(mb), 2);
	mailbox_close(&mb);
}

static void uids_stay_over_sessions_and_renames(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;
	uint32_t validity;

	for (int i = 0; i < 3; i++)
		deliver(f, "INBOX", "x\r\n");
	mb = select_mailbox(f, "INBOX");
	validity = mailbox_uidvalidity(mb);
	assert_int_equal(mailbox_expunge(mb, seqs_to(1), 1, false, NULL), 0);
	mailbox_close(&mb);
	deliver(f, "INBOX", "y\r\n");
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_uidvalidity(mb), validity);
	assert_int_equal(mailbox_count(mb), 3);
	assert_int_equal(mailbox_get(mb, 1).uid, 2);
	assert_int_equal(mailbox_get(mb, 3).uid, 4);
	assert_int_equal(mailbox_seq_of(mb, 3), 2);
	assert_int_equal(mailbox_seq_of(mb, 1), 0);
	assert_int_equal(mailbox_seq_from(mb, 1), 1);
	assert_int_equal(mailbox_seq_from(mb, 99), 4);
	mailbox_close(&mb);
	/* Also without its last message: uidnext never goes back. */
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_expunge(mb, seqs_to(3), 3, false, NULL), 0);
	mailbox_close(&mb);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(mb), 0);
	assert_int_equal(mailbox_uidnext(mb), 5);
	mailbox_close(&mb);
}

static void recent_is_for_the_first_session_that_selects(void **state)
{
	struct fixture *f = *state;
	struct store_status st;
	struct mailbox *a, *b;

	deliver(f, "INBOX", "x\r\n");
	append(f, "INBOX", "y\r\n", MAILBOX_SEEN);
	assert_int_equal(store_status(f->store, STR("inbox"), &st, NULL), 0);
	assert_int_equal(st.messages, 2);
	assert_int_equal(st.recent, 2);
	assert_int_equal(st.unseen, 1);
	assert_int_equal(st.uidnext, 3);
	assert_int_equal(mailbox_open(f->store, STR("INBOX"),
	    MAILBOX_READONLY, &b, NULL), 0);
	assert_int_equal(mailbox_recent(b), 2);
	a = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_recent(a), 2);
	assert_true(mailbox_get(a, 2).flags & MAILBOX_RECENT);
	assert_int_equal(store_status(f->store, STR("INBOX"), &st, NULL), 0);
	assert_int_equal(st.recent, 0);
	deliver(f, "INBOX", "z\r\n");
	assert_int_equal(mailbox_refresh(a, NULL), 0);
	assert_int_equal(mailbox_recent(a), 3);
	assert_int_equal(mailbox_refresh(b, NULL), 0);
	assert_int_equal(mailbox_count(b), 3);
	assert_int_equal(mailbox_recent(b), 2);
	mailbox_close(&a);
	mailbox_close(&b);
	a = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_recent(a), 0);
	mailbox_close(&a);
}

static void flags_are_in_the_name_and_others_see_them(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a, *b;
	uint32_t seq = 0;

	other_writes(f, "cur/1000.M1P1Q1.x:2,PS", "one\n");
	other_writes(f, "cur/1001.M1P1Q1.x", "two\n");
	a = select_mailbox(f, "INBOX");
	b = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_store(a, seqs_to(2), 2, MAILBOX_ADD,
	    MAILBOX_FLAGGED | MAILBOX_DELETED, 0, NULL), 0);
	assert_true(is_there(f, "cur/1000.M1P1Q1.x:2,FPST"));
	assert_true(is_there(f, "cur/1001.M1P1Q1.x:2,FT"));
	assert_int_equal(mailbox_store(a, seqs_to(1), 1, MAILBOX_SET,
	    MAILBOX_DRAFT, 0, NULL), 0);
	assert_true(is_there(f, "cur/1000.M1P1Q1.x:2,DP"));
	assert_int_equal(mailbox_store(a, seqs_to(2), 2, MAILBOX_REMOVE,
	    MAILBOX_FLAGGED, 0, NULL), 0);
	assert_true(is_there(f, "cur/1001.M1P1Q1.x:2,T"));
	assert_false(mailbox_next_changed(a, &seq));
	assert_int_equal(mailbox_refresh(b, NULL), 0);
	seq = 0;
	assert_true(mailbox_next_changed(b, &seq));
	assert_int_equal(seq, 1);
	check_flags(b, 1, MAILBOX_DRAFT);
	assert_true(mailbox_next_changed(b, &seq));
	assert_int_equal(seq, 2);
	check_flags(b, 2, MAILBOX_DELETED);
	assert_false(mailbox_next_changed(b, &seq));
	seq = 0;
	assert_false(mailbox_next_changed(b, &seq));
	mailbox_close(&a);
	mailbox_close(&b);
}

static void keywords_are_letters_with_a_table(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a, *b;
	char name[40];
	int k, seen;

	append(f, "INBOX", "one\r\n", MAILBOX_SEEN);
	append(f, "INBOX", "two\r\n", 0);
	a = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_keyword_make(a, STR("$Forwarded"), NULL), 0);
	assert_int_equal(mailbox_keyword_make(a, STR("Work"), NULL), 1);
	assert_int_equal(mailbox_keyword_make(a, STR("work"), NULL), 1);
	assert_int_equal(mailbox_keyword_make(a, STR("not an atom"), NULL),
	    -1);
	assert_int_equal(mailbox_keyword_make(a, STR("\\Seen"), NULL), -1);
	assert_int_equal(mailbox_store(a, seqs_to(2), 2, MAILBOX_ADD, 0, 3,
	    NULL), 0);
	mailbox_close(&a);
	b = select_mailbox(f, "INBOX");
	assert_true(str_eq_c(mailbox_keyword(b, 1), "Work"));
	assert_int_equal(mailbox_get(b, 1).keywords, 3);
	check_flags(b, 1, MAILBOX_SEEN);
	/* Until all 26 are used by messages. */
	for (int i = 0; i < 24; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		k = mailbox_keyword_make(b, str_of(name), NULL);
		assert_int_equal(k, i + 2);
		assert_int_equal(mailbox_store(b, seqs_to(1), 1, MAILBOX_ADD,
		    0, 1u << k, NULL), 0);
	}
	assert_false(mailbox_keyword_room(b));
	assert_int_equal(mailbox_keyword_make(b, STR("more"), NULL), -1);
	assert_int_equal(errno, E2BIG);
	/* A letter that no message has can be given again. */
	seen = mailbox_keyword_find(b, STR("k5"));
	assert_int_equal(mailbox_store(b, seqs_to(1), 1, MAILBOX_REMOVE, 0,
	    1u << seen, NULL), 0);
	assert_int_equal(mailbox_keyword_make(b, STR("more"), NULL), seen);
	mailbox_close(&b);
}

static void a_letter_of_another_program_is_kept(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;

	other_writes(f, "cur/1000.M1P1Q1.x:2,Sa", "one\n");
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_get(mb, 1).keywords, 0);
	assert_int_equal(mailbox_keyword_make(mb, STR("mine"), NULL), 1);
	assert_int_equal(mailbox_store(mb, seqs_to(1), 1, MAILBOX_SET, 0,
	    1 << 1, NULL), 0);
	assert_true(is_there(f, "cur/1000.M1P1Q1.x:2,ab"));
	mailbox_close(&mb);
}

struct told {
	uint32_t seq[10], uid[10];
	size_t n;
};

static void note(uint32_t seq, uint32_t uid, void *ctx)
{
	struct told *t = ctx;

	t->seq[t->n] = seq;
	t->uid[t->n++] = uid;
}

static void numbers_stay_until_the_session_takes_the_expunges(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a, *b;
	struct told t = { .n = 0 };
	const uint32_t gone[] = { 2, 3, 5 };
	struct mailbox_text text;

	for (int i = 0; i < 5; i++)
		append(f, "INBOX", "x\r\n", MAILBOX_SEEN);
	a = select_mailbox(f, "INBOX");
	b = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_expunge(a, gone, 3, false, NULL), 0);
	append(f, "INBOX", "new\r\n", 0);
	assert_int_equal(mailbox_refresh(b, NULL), 0);
	assert_int_equal(mailbox_count(b), 6);
	assert_true(mailbox_has_gone(b));
	assert_true(mailbox_get(b, 2).flags & MAILBOX_GONE);
	assert_int_equal(mailbox_text_open(b, 2, &text, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mailbox_get(b, 4).uid, 4);
	mailbox_take_expunged(b, note, &t);
	assert_int_equal(t.n, 3);
	assert_int_equal(t.seq[0], 2);
	assert_int_equal(t.seq[1], 2);
	assert_int_equal(t.seq[2], 3);
	assert_int_equal(t.uid[2], 5);
	assert_int_equal(mailbox_count(b), 3);
	assert_int_equal(mailbox_get(b, 2).uid, 4);
	assert_int_equal(mailbox_get(b, 3).uid, 6);
	assert_false(mailbox_has_gone(b));
	mailbox_close(&a);
	mailbox_close(&b);
}

static void only_deleted_messages_are_expunged(void **state)
{
	struct fixture *f = *state;
	struct mailbox *a, *b;

	append(f, "INBOX", "x\r\n", MAILBOX_DELETED);
	append(f, "INBOX", "y\r\n", MAILBOX_DELETED);
	a = select_mailbox(f, "INBOX");
	b = select_mailbox(f, "INBOX");
	/* a does not know yet that b saved one. */
	assert_int_equal(mailbox_store(b, seqs_to(1), 1, MAILBOX_REMOVE,
	    MAILBOX_DELETED, 0, NULL), 0);
	assert_int_equal(mailbox_expunge(a, seqs_to(2), 2, true, NULL), 0);
	assert_false(mailbox_get(a, 1).flags & MAILBOX_GONE);
	assert_true(mailbox_get(a, 2).flags & MAILBOX_GONE);
	assert_int_equal(entries(f, "cur") + entries(f, "new"), 1);
	mailbox_close(&a);
	mailbox_close(&b);
}

static void another_program_renames_and_removes(void **state)
{
	struct fixture *f = *state;
	struct mailbox_text t;
	struct mailbox *mb;
	uint32_t seq = 0;
	int64_t date;

	other_writes(f, "cur/1000.M1P1Q1.x:2,", "one\n");
	other_writes(f, "cur/1001.M1P1Q1.x:2,", "two\n");
	other_writes(f, "cur/1002.M1P1Q1.x:2,", "three\n");
	mb = select_mailbox(f, "INBOX");
	/* Without a refresh between: what is asked finds the new name. */
	other_renames(f, "cur/1000.M1P1Q1.x:2,", "cur/1000.M1P1Q1.x:2,S");
	assert_int_equal(mailbox_text_open(mb, 1, &t, NULL), 0);
	mailbox_text_close(mb, &t);
	other_renames(f, "cur/1001.M1P1Q1.x:2,", "cur/1001.M1P1Q1.x:2,R");
	assert_int_equal(mailbox_store(mb, seqs_to(2), 2, MAILBOX_ADD,
	    MAILBOX_FLAGGED, 0, NULL), 0);
	assert_true(is_there(f, "cur/1001.M1P1Q1.x:2,FR"));
	other_renames(f, "cur/1002.M1P1Q1.x:2,", "cur/1002.M1P1Q1.x:2,T");
	assert_int_equal(mailbox_date(mb, 3, &date), 0);
	other_removes(f, "cur/1002.M1P1Q1.x:2,T");
	assert_int_equal(mailbox_text_open(mb, 3, &t, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_true(mailbox_get(mb, 3).flags & MAILBOX_GONE);
	assert_true(mailbox_next_changed(mb, &seq));
	assert_int_equal(seq, 1);
	mailbox_take_expunged(mb, NULL, NULL);
	assert_int_equal(mailbox_count(mb), 2);
	mailbox_close(&mb);
}

static int opens;

static int count_opens(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	opens += ev->op == SYS_OPEN && !ev->after && ev->path != NULL &&
	    strcmp(ev->path, ".") == 0;
	return 0;
}

static void nothing_is_read_when_nothing_changed(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb, *again;

	assert_int_equal(store_create(f->store, STR("Box"), NULL), 0);
	for (int i = 0; i < 3; i++)
		append(f, "Box", "x\r\n", MAILBOX_SEEN);
	settle();
	mb = select_mailbox(f, "Box");
	opens = 0;
	sys_set_hook(count_opens, NULL);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(opens, 0);
	/* Another session learns from the list that nothing happened. */
	again = select_mailbox(f, "Box");
	assert_int_equal(opens, 0);
	assert_int_equal(mailbox_count(again), 3);
	/* Our own change needs no reading; another program's does. */
	assert_int_equal(mailbox_store(mb, seqs_to(3), 3, MAILBOX_ADD,
	    MAILBOX_FLAGGED, 0, NULL), 0);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_refresh(again, NULL), 0);
	assert_int_equal(opens, 0);
	check_flags(again, 2, MAILBOX_SEEN | MAILBOX_FLAGGED);
	other_writes(f, ".Box/new/1.M1P1Q1.x", "x\n");
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 4);
	assert_true(opens > 0);
	fault_off();
	mailbox_close(&mb);
	mailbox_close(&again);
}

static void a_change_in_the_same_tick_is_seen(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb = select_mailbox(f, "INBOX");
	char name[60];

	for (uint32_t i = 1; i <= 300; i++) {
		snprintf(name, sizeof(name), "cur/%u.M1P1Q1.x:2,S",
		    1000 + i);
		other_writes(f, name, "x\n");
		assert_int_equal(mailbox_refresh(mb, NULL), 0);
		assert_int_equal(mailbox_count(mb), i);
	}
	mailbox_close(&mb);
}

static void the_same_base_twice_becomes_two_messages(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;

	other_writes(f, "cur/1000.M1P1Q1.x:2,S", "one\n");
	mb = select_mailbox(f, "INBOX");
	other_writes(f, "cur/1000.M1P1Q1.x:2,F", "two\n");
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 2);
	assert_int_equal(entries(f, "cur"), 2);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 2);
	mailbox_close(&mb);
}

/* As btrfs leaves a rename from new/ to cur/ when the power goes. */
static void two_names_of_one_file_are_one_message(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb, *looks;

	other_writes(f, "cur/1001.M1P1Q1.x:2,S", "two\n");
	mb = select_mailbox(f, "INBOX");
	/* known in new/, known in cur/, not known yet */
	other_writes(f, "new/1002.M1P1Q1.x", "three\n");
	assert_int_equal(mailbox_open(f->store, STR("INBOX"),
	    MAILBOX_READONLY, &looks, NULL), 0);
	assert_int_equal(mailbox_count(looks), 2);
	other_links(f, "new/1002.M1P1Q1.x", "cur/1002.M1P1Q1.x:2,F");
	other_links(f, "cur/1001.M1P1Q1.x:2,S", "new/1001.M1P1Q1.x");
	other_writes(f, "new/1003.M1P1Q1.x", "four\n");
	other_links(f, "new/1003.M1P1Q1.x", "cur/1003.M1P1Q1.x:2,");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mailbox_refresh(looks, NULL), 0);
		assert_int_equal(mailbox_count(looks), 3);
		assert_int_equal(mailbox_refresh(mb, NULL), 0);
		assert_int_equal(mailbox_count(mb), 3);
	}
	assert_int_equal(entries(f, "new"), 0);
	assert_int_equal(entries(f, "cur"), 3);
	assert_int_equal(entries(f, "tmp"), 0);
	mailbox_close(&looks);
	mailbox_close(&mb);
}

static void sizes_are_told_without_the_file_and_right_with_it(void **state)
{
	struct fixture *f = *state;
	struct mailbox_text t;
	struct mailbox *mb;
	uint64_t size;

	other_writes(f, "cur/1000.M1P1Q1.x,S=4,W=99:2,", "a\nb\n");
	other_writes(f, "cur/1001.M1P1Q1.x:2,", "a\nb\r\n");
	other_writes(f, "cur/1002.M1P1Q1.x,S=4,W=6:2,", "a\nb\n");
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_size(mb, 2, &size), 0);
	assert_int_equal(size, 6);
	opens = 0;
	assert_int_equal(mailbox_size(mb, 3, &size), 0);
	assert_int_equal(size, 6);
	/* W= is wrong: once read, the truth is told for ever. */
	assert_int_equal(mailbox_text_open(mb, 1, &t, NULL), 0);
	assert_int_equal(t.wire, 6);
	mailbox_text_close(mb, &t);
	mailbox_close(&mb);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_size(mb, 1, &size), 0);
	assert_int_equal(size, 6);
	mailbox_close(&mb);
}

static char *lines_of_text(size_t n)
{
	char *text = malloc(n + 1);

	memset(text, 'x', n);
	for (size_t i = 79; i < n; i += 80)
		text[i] = '\n';
	text[n] = '\0';
	return text;
}

static void a_large_message_is_mapped(void **state)
{
	struct fixture *f = *state;
	size_t n = 1000000;
	char *text = lines_of_text(n);
	struct mailbox_text t;
	struct mailbox *mb;

	other_writes(f, "cur/1000.M1P1Q1.x:2,", text);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_text_open(mb, 1, &t, NULL), 0);
	assert_non_null(t.map);
	assert_int_equal(t.raw.n, n);
	assert_int_equal(t.wire, n + n / 80);
	assert_memory_equal(t.raw.p, text, n);
	mailbox_text_close(mb, &t);
	mailbox_close(&mb);
	free(text);
}

static void a_message_that_is_cut_meanwhile_is_not_whole(void **state)
{
	struct fixture *f = *state;
	char *text = lines_of_text(1000000), full[4200];
	struct mailbox_text t;
	struct mailbox *mb;

	other_writes(f, "cur/1000.M1P1Q1.x:2,", text);
	snprintf(full, sizeof(full), "%s/cur/1000.M1P1Q1.x:2,", f->path);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_text_open(mb, 1, &t, NULL), 0);
	assert_true(mailbox_text_is_whole(&t));
	assert_int_equal(truncate(full, 999999), 0);
	assert_false(mailbox_text_is_whole(&t));
	mailbox_text_close(mb, &t);
	mailbox_close(&mb);
	free(text);
}

static void append_gives_uid_flags_keywords_and_date(void **state)
{
	struct fixture *f = *state;
	const struct str words[] = { STR("$Junk"), STR("Todo") };
	struct delivery_append a = { MAILBOX_SEEN | MAILBOX_FLAGGED, words, 2,
		1000000000 };
	uint32_t validity = 0, uid = 0;
	struct mailbox *mb = select_mailbox(f, "INBOX");
	struct delivery *d;
	int64_t date;
	int k;

	assert_int_equal(delivery_open(f->store, STR("INBOX"), &d, NULL), 0);
	assert_int_equal(delivery_write(d, STR("From: x\r\n\r\nhi\r\n")), 0);
	assert_int_equal(delivery_commit_append(&d, &a, &validity, &uid,
	    NULL), 0);
	assert_int_equal(validity, mailbox_uidvalidity(mb));
	assert_int_equal(uid, 1);
	assert_int_equal(mailbox_count(mb), 0);
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 1);
	check_flags(mb, 1, MAILBOX_SEEN | MAILBOX_FLAGGED);
	assert_int_equal(mailbox_date(mb, 1, &date), 0);
	assert_int_equal(date, 1000000000);
	k = mailbox_keyword_find(mb, STR("todo"));
	assert_true(k >= 0);
	assert_true(mailbox_get(mb, 1).keywords >> k & 1);
	mailbox_close(&mb);
}

static void copy_keeps_flags_keywords_and_date(void **state)
{
	struct fixture *f = *state;
	struct mailbox_copied c;
	struct mailbox *a, *b;
	int64_t from, to;
	int k;

	assert_int_equal(store_create(f->store, STR("Sent"), NULL), 0);
	append(f, "Sent", "there already\r\n", 0);
	append(f, "INBOX", "one\r\n", MAILBOX_SEEN);
	append(f, "INBOX", "two\r\n", 0);
	a = select_mailbox(f, "INBOX");
	k = mailbox_keyword_make(a, STR("blue"), NULL);
	assert_int_equal(mailbox_store(a, seqs_to(1), 1, MAILBOX_ADD,
	    MAILBOX_FLAGGED, 1u << k, NULL), 0);
	b = select_mailbox(f, "Sent");
	mailbox_keyword_make(b, STR("green"), NULL);
	assert_int_equal(mailbox_copy(a, seqs_to(2), 2, STR("Sent"), &c,
	    NULL), 0);
	assert_int_equal(c.uidvalidity, mailbox_uidvalidity(b));
	assert_int_equal(c.first_uid, 2);
	assert_int_equal(c.count, 2);
	assert_int_equal(mailbox_refresh(b, NULL), 0);
	assert_int_equal(mailbox_count(b), 3);
	check_flags(b, 2, MAILBOX_SEEN | MAILBOX_FLAGGED);
	k = mailbox_keyword_find(b, STR("BLUE"));
	assert_int_equal(mailbox_get(b, 2).keywords, 1 << k);
	assert_int_equal(mailbox_date(a, 1, &from), 0);
	assert_int_equal(mailbox_date(b, 2, &to), 0);
	assert_int_equal(from, to);
	assert_int_equal(mailbox_copy(a, seqs_to(2), 2, STR("None"), &c,
	    NULL), -1);
	assert_int_equal(errno, ENOENT);
	/* Into itself as well. */
	assert_int_equal(mailbox_copy(a, seqs_to(1), 1, STR("INBOX"), &c,
	    NULL), 0);
	assert_int_equal(mailbox_refresh(a, NULL), 0);
	assert_int_equal(mailbox_count(a), 3);
	mailbox_close(&a);
	mailbox_close(&b);
}

static void a_copy_that_fails_leaves_nothing(void **state)
{
	static const struct { enum sys_op op; int err; } rows[] = {
		{ SYS_LINK, ENOSPC }, { SYS_WRITE, ENOSPC },
		{ SYS_FSYNC, EIO }, { SYS_RENAME, EDQUOT },
		{ SYS_OPEN, EMFILE },
	};
	struct fixture *f = *state;
	struct mailbox_copied c;
	struct store_status st;
	struct mailbox *mb;
	uint32_t uidnext;
	bool any;

	assert_int_equal(store_create(f->store, STR("Sent"), NULL), 0);
	append(f, "Sent", "there already\r\n", 0);
	for (int i = 0; i < 3; i++)
		append(f, "INBOX", "x\r\n", i == 1 ? MAILBOX_SEEN : 0);
	mb = select_mailbox(f, "INBOX");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		any = false;
		for (int n = 1; n <= 5; n++) {
			int rc;

			assert_int_equal(store_status(f->store, STR("Sent"),
			    &st, NULL), 0);
			uidnext = st.uidnext;
			fault_on(rows[i].op, n, rows[i].err, true);
			rc = mailbox_copy(mb, seqs_to(3), 3, STR("Sent"), &c,
			    NULL);
			fault_off();
			if (rc == 0)
				break;
			any = true;
			assert_int_equal(entries(f, ".Sent/tmp"), 0);
			assert_int_equal(store_status(f->store, STR("Sent"),
			    &st, NULL), 0);
			assert_int_equal(st.messages, 1);
			assert_true(st.uidnext >= uidnext);
		}
		assert_true(any);
		/* What a later success left is taken away again. */
		{
			struct mailbox *sent = select_mailbox(f, "Sent");
			const uint32_t rest[] = { 2, 3, 4 };

			if (mailbox_count(sent) == 4)
				assert_int_equal(mailbox_expunge(sent, rest,
				    3, false, NULL), 0);
			mailbox_close(&sent);
		}
	}
	mailbox_close(&mb);
}

static void a_vanished_message_makes_the_copy_fail(void **state)
{
	struct fixture *f = *state;
	struct mailbox_copied c;
	struct mailbox *mb;

	assert_int_equal(store_create(f->store, STR("Sent"), NULL), 0);
	other_writes(f, "cur/1000.M1P1Q1.x:2,S", "one\n");
	other_writes(f, "cur/1001.M1P1Q1.x:2,S", "two\n");
	mb = select_mailbox(f, "INBOX");
	other_removes(f, "cur/1001.M1P1Q1.x:2,S");
	assert_int_equal(mailbox_copy(mb, seqs_to(2), 2, STR("Sent"), &c,
	    NULL), -1);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(entries(f, ".Sent/tmp"), 0);
	assert_int_equal(entries(f, ".Sent/cur"), 0);
	mailbox_close(&mb);
}

static void move_takes_it_away_here(void **state)
{
	struct fixture *f = *state;
	struct mailbox_copied c;
	struct store_status st;
	struct mailbox *mb;

	assert_int_equal(store_create(f->store, STR("Trash"), NULL), 0);
	append(f, "INBOX", "x\r\n", MAILBOX_SEEN);
	append(f, "INBOX", "y\r\n", 0);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_move(mb, seqs_to(1), 1, STR("Trash"), &c,
	    NULL), 0);
	assert_int_equal(c.count, 1);
	mailbox_take_expunged(mb, NULL, NULL);
	assert_int_equal(mailbox_count(mb), 1);
	assert_int_equal(store_status(f->store, STR("Trash"), &st, NULL), 0);
	assert_int_equal(st.messages, 1);
	mailbox_close(&mb);
}

static void an_expunge_that_cannot_be_synced_removes_nothing(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;

	append(f, "INBOX", "x\r\n", MAILBOX_SEEN);
	mb = select_mailbox(f, "INBOX");
	fault_on(SYS_FSYNC, 1, EIO, true);
	assert_int_equal(mailbox_expunge(mb, seqs_to(1), 1, false, NULL), -1);
	fault_off();
	assert_int_equal(entries(f, "cur"), 1);
	assert_false(mailbox_get(mb, 1).flags & MAILBOX_GONE);
	mailbox_close(&mb);
}

static void on_a_full_disk_mail_can_be_read_and_removed(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;

	append(f, "INBOX", "x\r\n", MAILBOX_SEEN);
	mb = select_mailbox(f, "INBOX");
	mailbox_close(&mb);
	deliver(f, "INBOX", "waits\r\n");
	fault_on(SYS_WRITE, 1, ENOSPC, true);
	mb = select_mailbox(f, "INBOX");
	/* The new message has no uid that would be safe to tell. */
	assert_int_equal(mailbox_count(mb), 1);
	assert_int_equal(mailbox_store(mb, seqs_to(1), 1, MAILBOX_ADD,
	    MAILBOX_DELETED, 0, NULL), 0);
	check_flags(mb, 1, MAILBOX_SEEN | MAILBOX_DELETED);
	assert_int_equal(mailbox_expunge(mb, seqs_to(1), 1, true, NULL), 0);
	assert_int_equal(entries(f, "cur"), 0);
	mailbox_take_expunged(mb, NULL, NULL);
	fault_off();
	assert_int_equal(mailbox_refresh(mb, NULL), 0);
	assert_int_equal(mailbox_count(mb), 1);
	assert_int_equal(mailbox_get(mb, 1).uid, 2);
	mailbox_close(&mb);
	mb = select_mailbox(f, "INBOX");
	assert_int_equal(mailbox_count(mb), 1);
	mailbox_close(&mb);
}

static void a_read_only_mailbox_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct mailbox *mb;

	deliver(f, "INBOX", "x\r\n");
	assert_int_equal(mailbox_open(f->store, STR("INBOX"),
	    MAILBOX_READONLY, &mb, NULL), 0);
	assert_true(mailbox_is_readonly(mb));
	assert_int_equal(entries(f, "new"), 1);
	assert_int_equal(mailbox_store(mb, seqs_to(1), 1, MAILBOX_ADD,
	    MAILBOX_SEEN, 0, NULL), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(mailbox_expunge(mb, seqs_to(1), 1, false, NULL), -1);
	assert_int_equal(mailbox_keyword_make(mb, STR("x"), NULL), -1);
	mailbox_close(&mb);
}

static void a_deleted_mailbox_ends_the_session_softly(void **state)
{
	struct fixture *f = *state;
	struct mailbox_text t;
	struct mailbox *mb;

	assert_int_equal(store_create(f->store, STR("Old"), NULL), 0);
	append(f, "Old", "x\r\n", 0);
	mb = select_mailbox(f, "Old");
	assert_int_equal(store_delete(f->store, STR("Old"), NULL), 0);
	assert_int_equal(mailbox_refresh(mb, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mailbox_count(mb), 1);
	assert_int_equal(mailbox_text_open(mb, 1, &t, NULL), -1);
	assert_int_equal(mailbox_store(mb, seqs_to(1), 1, MAILBOX_ADD,
	    MAILBOX_SEEN, 0, NULL), -1);
	mailbox_close(&mb);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
    fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mail_gets_uids_in_order_of_arrival),
		TEST(uids_stay_over_sessions_and_renames),
		TEST(recent_is_for_the_first_session_that_selects),
		TEST(flags_are_in_the_name_and_others_see_them),
		TEST(keywords_are_letters_with_a_table),
		TEST(a_letter_of_another_program_is_kept),
		TEST(numbers_stay_until_the_session_takes_the_expunges),
		TEST(only_deleted_messages_are_expunged),
		TEST(another_program_renames_and_removes),
		TEST(nothing_is_read_when_nothing_changed),
		TEST(a_change_in_the_same_tick_is_seen),
		TEST(the_same_base_twice_becomes_two_messages),
		TEST(two_names_of_one_file_are_one_message),
		TEST(sizes_are_told_without_the_file_and_right_with_it),
		TEST(a_large_message_is_mapped),
		TEST(a_message_that_is_cut_meanwhile_is_not_whole),
		TEST(append_gives_uid_flags_keywords_and_date),
		TEST(copy_keeps_flags_keywords_and_date),
		TEST(a_copy_that_fails_leaves_nothing),
		TEST(a_vanished_message_makes_the_copy_fail),
		TEST(move_takes_it_away_here),
		TEST(an_expunge_that_cannot_be_synced_removes_nothing),
		TEST(on_a_full_disk_mail_can_be_read_and_removed),
		TEST(a_read_only_mailbox_changes_nothing),
		TEST(a_deleted_mailbox_ends_the_session_softly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
