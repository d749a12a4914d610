/*
 * h1_store.c - kill the mailbox code before and after each durable operation
 *
 *	crash-store [--kills N] [--seed S] [--dir DIR] [-v]
 *
 * A child delivers, appends, looks, sets flags, copies and expunges through
 * lib/store and is killed (SIGKILL) at one of its durable operations. Then
 * the mailboxes are looked at twice: as the kill left them, and as a power
 * cut at that moment might have (shadow.h). What was promised must be true:
 *
 *	a message whose delivery, APPEND or COPY was acknowledged is there,
 *	once, with its octets and with the uid that was told; one whose
 *	expunge was acknowledged is not there; a uid that a client saw
 *	never means another message; UIDVALIDITY stays, uidnext only grows.
 *
 * First the same is done with syncs left out. If the harness does not
 * catch each of these it is blind, and says so.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "scratch.h"
#include "shadow.h"
#include "store/delivery.h"
#include "store/mailbox.h"
#include "store/store.h"

#define STEPS 7
#define ITEMS 32
#define TOLD 256
#define CONTROL_RUNS 4000

enum order { ORDER_OURS, ORDER_NO_FILE_SYNC, ORDER_NO_DIR_SYNC,
	ORDER_NO_LIST_SYNC, ORDER_COUNT };

static const char *const order_names[ORDER_COUNT] = {
	"all syncs", "message files are not synced",
	"directories are not synced", "the uid list is not synced",
};

enum box { INBOX, BOX, BOXES };
static const struct str box_names[BOXES] = { STR("INBOX"), STR("Box") };

struct item {
	enum box box;
	uint32_t id, uid, validity;	/* uid 0: not told */
	bool expunging, expunged;
};

struct told {
	enum box box;
	uint32_t validity, uid, id;
};

struct promise {
	struct item items[ITEMS];
	struct told told[TOLD];
	int item_count, told_count;
	uint32_t next_id;
	unsigned operations;
	bool finished;
};

struct run {
	struct promise *promise;
	struct shadow *shadow;
	int live, image;
	enum order order;
	unsigned seed, kill_at;
	bool kill_after;
};

static bool verbose;

/* --- the child --- */

/* Is it a sync that the order leaves out? */
static bool left_out(const struct run *run, const struct sys_event *ev)
{
	char link[64], path[512] = "";
	struct stat st;
	bool list;

	if ((ev->op != SYS_FSYNC && ev->op != SYS_FDATASYNC) ||
	    run->order == ORDER_OURS || fstat(ev->fd, &st) < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", ev->fd);
	if (readlink(link, path, sizeof(path) - 1) < 0)
		return false;
	list = strstr(path, "postern-uidlist") != NULL;
	switch (run->order) {
	case ORDER_NO_DIR_SYNC: return S_ISDIR(st.st_mode);
	case ORDER_NO_LIST_SYNC: return list;
	default: return S_ISREG(st.st_mode) && !list;
	}
}

/*
 * The shadow finds a rename's old name by the file: so a file with two names
 * must not be renamed. Either messages are linked (COPY), or renamed (STORE)
 * and copied as on a filesystem without links.
 */
static bool may_link(const struct run *run)
{
	return run->seed / 2 % 2;
}

static int hook(const struct sys_event *ev, void *ctx)
{
	struct run *run = ctx;
	struct promise *p = run->promise;

	if (ev->op == SYS_CLOSE)
		return 0;
	if (ev->op == SYS_LINK && !ev->after && !may_link(run))
		return EPERM;
	if (!ev->after)
		p->operations++;
	else if (!left_out(run, ev))
		shadow_event(run->shadow, ev);
	if (p->operations == run->kill_at && ev->after == run->kill_after)
		kill(getpid(), SIGKILL);
	return 0;
}

/* The message with this number, on the wire and as a file. */
static struct str text_of(uint32_t id, bool wire)
{
	static char text[4096];
	const char *end = wire ? "\r\n" : "\n";
	int n = snprintf(text, sizeof(text), "Subject: %u%s%s", id, end, end);

	for (uint32_t i = 0; i < id % 40; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
		    "line %u of %u, as any other%s", i, id, end);
	return str_n(text, (size_t)n);
}

static void promise_item(struct run *run, enum box box, uint32_t id,
    uint32_t validity, uint32_t uid)
{
	struct promise *p = run->promise;

	if (p->item_count == ITEMS)
		return;
	p->items[p->item_count] = (struct item){ .box = box, .id = id,
		.validity = validity, .uid = uid };
	p->item_count++;
}

static struct delivery *write_message(struct store *s, enum box box,
    uint32_t id)
{
	struct delivery *d = NULL;

	must(delivery_open(s, box_names[box], &d, NULL), "open");
	must(delivery_write(d, text_of(id, true)), "write");
	return d;
}

static void deliver(struct run *run, struct store *s)
{
	uint32_t id = ++run->promise->next_id;
	struct delivery *d = write_message(s, INBOX, id);

	must(delivery_commit(&d, NULL), "commit");
	promise_item(run, INBOX, id, 0, 0);
}

static void append(struct run *run, struct store *s, enum box box,
    uint32_t flags)
{
	struct delivery_append a = { .flags = flags,
		.date = DELIVERY_DATE_NOW };
	uint32_t id = ++run->promise->next_id, validity, uid;
	struct delivery *d = write_message(s, box, id);

	must(delivery_commit_append(&d, &a, &validity, &uid, NULL), "append");
	promise_item(run, box, id, validity, uid);
}

/* 0: not a whole message of ours. */
static uint32_t read_id(struct mailbox *mb, uint32_t seq)
{
	struct mailbox_text t;
	unsigned id = 0;
	char head[40];

	if (mailbox_text_open(mb, seq, &t, NULL) < 0)
		return 0;
	if (str_to_c(str_sub(t.raw, 0, t.raw.n < 30 ? t.raw.n : 30), head,
	    sizeof(head)) < 0 || sscanf(head, "Subject: %u", &id) != 1 ||
	    !str_eq(t.raw, text_of(id, false)))
		id = 0;
	mailbox_text_close(mb, &t);
	return id;
}

/* A client sees the mailbox. */
static void look(struct run *run, struct mailbox *mb, enum box box)
{
	struct promise *p = run->promise;

	must(mailbox_refresh(mb, NULL), "refresh");
	mailbox_take_expunged(mb, NULL, NULL);
	for (uint32_t i = 1; i <= mailbox_count(mb); i++) {
		if (p->told_count == TOLD)
			return;
		p->told[p->told_count] = (struct told){ box,
			mailbox_uidvalidity(mb), mailbox_get(mb, i).uid,
			read_id(mb, i) };
		p->told_count++;
	}
}

static struct item *item_of(struct promise *p, enum box box, uint32_t id)
{
	for (int i = 0; i < p->item_count; i++)
		if (p->items[i].box == box && p->items[i].id == id)
			return &p->items[i];
	return NULL;
}

static void copy(struct run *run, struct mailbox *mb, uint32_t seq)
{
	uint32_t id = read_id(mb, seq);
	struct mailbox_copied c;

	if (item_of(run->promise, BOX, id) != NULL)
		return;
	must(mailbox_copy(mb, &seq, 1, box_names[BOX], &c, NULL), "copy");
	promise_item(run, BOX, id, c.uidvalidity, c.first_uid);
}

static void expunge(struct run *run, struct mailbox *mb, uint32_t seq)
{
	struct item *it = item_of(run->promise, INBOX, read_id(mb, seq));

	if (it == NULL)
		return;
	it->expunging = true;
	must(mailbox_expunge(mb, &seq, 1, false, NULL), "expunge");
	it->expunged = true;
}

/* seq: some message, or 0 when there is none. */
static void step(struct run *run, struct store *s, struct mailbox *mb,
    uint32_t seq, unsigned *seed)
{
	switch (rand_r(seed) % (seq > 0 ? 7 : 3)) {
	case 0:
	case 1:
		deliver(run, s);
		break;
	case 2:
		append(run, s, (enum box)(rand_r(seed) % BOXES),
		    rand_r(seed) % 2 ? MAILBOX_SEEN : 0);
		break;
	case 3:
		if (!may_link(run))
			must(mailbox_store(mb, &seq, 1, MAILBOX_ADD,
			    MAILBOX_FLAGGED, 0, NULL), "store");
		break;
	case 4:
	case 5:
		copy(run, mb, seq);
		break;
	case 6:
		expunge(run, mb, seq);
		break;
	}
}

static void scenario(struct run *run)
{
	struct mailbox *mb = NULL;
	struct store *s = NULL;
	unsigned seed = run->seed;

	sys_set_hook(hook, run);
	must(store_open(run->live, STR("h"), true, &s, NULL), "store");
	must(mailbox_open(s, box_names[INBOX], MAILBOX_READWRITE, &mb,
	    NULL), "mailbox");
	for (int i = 0; i < STEPS; i++) {
		uint32_t n, seq;

		look(run, mb, INBOX);
		n = mailbox_count(mb);
		seq = n > 0 ? (uint32_t)rand_r(&seed) % n + 1 : 0;
		step(run, s, mb, seq, &seed);
	}
	mailbox_close(&mb);
	store_close(&s);
}

/* --- afterwards --- */

struct view {
	struct run *run;
	const char *what;
	int broken;
};

static void __attribute__((format(printf, 2, 3)))
broken(struct view *v, const char *fmt, ...)
{
	va_list ap;

	v->broken++;
	if (!verbose)
		return;
	fprintf(stderr, "crash-store: %s, seed %u, kill %s %u: ", v->what,
	    v->run->seed, v->run->kill_after ? "after" : "before",
	    v->run->kill_at);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void check_item(struct view *v, const struct item *it,
    struct mailbox *mb, const uint32_t *ids)
{
	uint32_t found = 0, uid = 0;

	for (uint32_t i = 1; i <= mailbox_count(mb); i++) {
		if (ids[i] == it->id) {
			found++;
			uid = mailbox_get(mb, i).uid;
		}
	}
	if (it->expunged && found > 0)
		broken(v, "message %u is back", it->id);
	if (it->expunging)
		return;
	if (found != 1)
		broken(v, "message %u is there %u times", it->id, found);
	else if (it->uid != 0 && (uid != it->uid ||
	    it->validity != mailbox_uidvalidity(mb)))
		broken(v, "message %u had uid %u, has %u", it->id, it->uid,
		    uid);
}

static void check_told(struct view *v, const struct told *t,
    struct mailbox *mb, const uint32_t *ids)
{
	uint32_t seq;

	if (t->validity != mailbox_uidvalidity(mb)) {
		broken(v, "UIDVALIDITY was %u, is %u", t->validity,
		    mailbox_uidvalidity(mb));
		return;
	}
	if (mailbox_uidnext(mb) <= t->uid)
		broken(v, "uid %u would be given again", t->uid);
	seq = mailbox_seq_of(mb, t->uid);
	if (seq != 0 && ids[seq] != t->id)
		broken(v, "uid %u was message %u, is %u", t->uid, t->id,
		    ids[seq]);
}

static int check_box(struct view *v, struct store *s, enum box box)
{
	const struct promise *p = v->run->promise;
	static uint32_t ids[1000];
	struct mailbox *mb = NULL;
	const char *why = "";

	if (mailbox_open(s, box_names[box], MAILBOX_READONLY, &mb,
	    &why) < 0) {
		broken(v, "a mailbox cannot be opened: %s", why);
		return -1;
	}
	for (uint32_t i = 1; i <= mailbox_count(mb) && i < 1000; i++)
		ids[i] = read_id(mb, i);
	for (int i = 0; i < p->item_count; i++)
		if (p->items[i].box == box)
			check_item(v, &p->items[i], mb, ids);
	for (int i = 0; i < p->told_count; i++)
		if (p->told[i].box == box)
			check_told(v, &p->told[i], mb, ids);
	mailbox_close(&mb);
	return 0;
}

static int check(struct run *run, int root, const char *what)
{
	struct view v = { run, what, 0 };
	struct store *s = NULL;

	must(store_open(root, STR("h"), true, &s, NULL), "store");
	for (int b = 0; b < BOXES; b++)
		check_box(&v, s, (enum box)b);
	store_close(&s);
	return v.broken;
}

/* A store with two mailboxes; every second time with uid lists. */
static void prepare(struct run *run)
{
	struct store_status st;
	struct store *s = NULL;

	memset(run->promise, 0, sizeof(*run->promise));
	wipe(run->live);
	wipe(run->image);
	must(store_open(run->live, STR("h"), true, &s, NULL), "store");
	must(store_create(s, box_names[BOX], NULL), "create");
	for (int b = 0; b < BOXES && run->seed % 2; b++)
		must(store_status(s, box_names[b], &st, NULL), "status");
	store_close(&s);
	must(shadow_reset(run->shadow, run->live), "shadow");
}

/* One child. True: it died where it was told to. */
static bool go(struct run *run, int *broken_r)
{
	unsigned cut_seed = run->seed ^ 0x5bd1e995;
	int status;
	pid_t pid;

	prepare(run);
	pid = fork();
	must(pid, "fork");
	if (pid == 0) {
		scenario(run);
		run->promise->finished = true;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFSIGNALED(status) && !run->promise->finished) {
		fprintf(stderr, "crash-store: the child failed, status %d\n",
		    status);
		exit(2);
	}
	if (shadow_overflowed(run->shadow)) {
		fprintf(stderr, "crash-store: the shadow's tables are full\n");
		exit(2);
	}
	must(shadow_cut(run->shadow, run->live, run->image,
	    (enum shadow_choice)(rand_r(&cut_seed) % 3), &cut_seed), "cut");
	*broken_r += check(run, run->image, "power cut");
	*broken_r += check(run, run->live, "kill");
	return WIFSIGNALED(status);
}

static unsigned long storm(struct run *run, unsigned long kills,
    unsigned long runs_max, unsigned *seed, int *broken_r)
{
	unsigned long done = 0, runs = 0;

	while (done < kills && runs++ < runs_max) {
		run->seed = (unsigned)rand_r(seed);
		run->kill_at = 1 + (unsigned)rand_r(seed) % 250;
		run->kill_after = rand_r(seed) % 2;
		done += go(run, broken_r);
		if (run->order != ORDER_OURS && *broken_r > 0)
			break;
	}
	return done;
}

/* Damaged lists are what the harness makes: they need no line each. */
static void silent(enum log_level level, struct str line, void *ctx)
{
	(void)level;
	(void)line;
	(void)ctx;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "seed", required_argument, NULL, 's' },
		{ "dir", required_argument, NULL, 'd' }, { 0 },
	};
	unsigned long kills = 10000, done;
	unsigned seed = (unsigned)clock_wall(), given;
	const char *base = "";
	int64_t start = clock_now();
	int c, blind = 0, violations = 0;
	struct run run = { 0 };
	char root[128];

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1)
		switch (c) {
		case 'k': kills = strtoul(optarg, NULL, 10); break;
		case 's': seed = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'd': base = optarg; break;
		case 'v': verbose = true; break;
		default:
			fprintf(stderr, "usage: crash-store [--kills N] "
			    "[--seed S] [--dir DIR] [-v]\n");
			return 64;
		}
	given = seed;
	log_set_sink(silent, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	scratch_begin(base, root, &run.live, &run.image);
	run.shadow = shadow_new();
	run.promise = shared(sizeof(*run.promise));
	must(run.shadow == NULL ? -1 : 0, "mmap");
	for (int order = 1; order < ORDER_COUNT; order++) {
		int caught = 0;

		run.order = (enum order)order;
		done = storm(&run, CONTROL_RUNS, CONTROL_RUNS, &seed,
		    &caught);
		printf("crash-store: %s: %s after %lu kills\n",
		    order_names[order], caught > 0 ? "caught" : "NOT CAUGHT",
		    done);
		blind += caught == 0;
	}
	run.order = ORDER_OURS;
	verbose = true;
	done = storm(&run, kills, 4 * kills + 100, &seed, &violations);
	printf("crash-store: %s: %lu kills, %d violations, %.1f s, seed %u\n",
	    order_names[ORDER_OURS], done, violations,
	    (double)(clock_now() - start) / 1e6, given);
	scratch_end(root, run.live, run.image);
	return blind > 0 || violations > 0 || done < kills ? 1 : 0;
}
