/*
 * h1.c - kill the queue's code before and after each durable operation
 *
 *	crash-h1 [--kills N] [--jobs N] [--seed S] [--dir DIR] [-v]
 *
 * A child does what `cleanup` and `qmgr` do with a spool, through the same
 * functions, and is killed (SIGKILL) at one of its durable operations. Then
 * the spool is recovered twice: as the kill left it, and as a power cut at
 * that moment might have (shadow.h). What was promised must be true:
 *
 *	an acknowledged message is whole and its octets are right, until all
 *	its recipients have a result; a recipient whose result was called
 *	recorded is never tried again; an id is never given twice.
 *
 * First the same is done with orders that are known to break a promise. If
 * the harness does not catch each of them it is blind, and says so.
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
#include "queue/commit.h"
#include "queue/done.h"
#include "queue/recover.h"
#include "scratch.h"
#include "shadow.h"

#define MESSAGES 4
#define RECIPIENTS 2
#define DONE_AREA 320		/* 10 records: it is switched all the time */
#define DONE_SMALL 192		/* 6: also within a run that began empty */
#define COUNTED_RUNS 32
#define CONTROL_RUNS 3000	/* in which a losing order must be caught */

enum order {
	ORDER_OURS,
	ORDER_LINK_LATE, ORDER_RENAME_LATE, ORDER_NO_DIR_SYNC,
	ORDER_NO_FILE_SYNC, ORDER_DONE_UNSYNCED, ORDER_DEFER_UNSYNCED,
	ORDER_REUSE_UNRECORDED, ORDER_SPARE_FORGOTTEN,
	ORDER_COUNT
};

static const char *const order_names[ORDER_COUNT] = {
	"create, sync directory, write, sync file",
	"sync file, then link, no directory sync",
	"sync file, then rename, no directory sync",
	"create, write, sync file, no directory sync",
	"create, sync directory, write, no file sync",
	"result called recorded before the done log is synced",
	"done log forgets a deferred message whose log is not synced",
	"a file is given again before its results are recorded",
	"done log forgets a spare whose new name is not durable",
};

enum broken { LOST, AGAIN, OTHER, BROKEN_COUNT };

/* The promise that an order is known to break. */
static const enum broken order_breaks[ORDER_COUNT] = {
	OTHER, LOST, LOST, LOST, LOST, AGAIN, AGAIN, LOST, AGAIN,
};

enum result { PENDING, BEGUN, RECORDED };

struct message {
	uint64_t id;
	uint32_t octets;
	bool acked;
	unsigned char result[RECIPIENTS];
};

/* What the child promised before it died; shared with the parent. */
struct promise {
	struct message messages[MESSAGES];
	int count;
	uint64_t highest_id;
	unsigned operations;
	bool finished;
};

struct run {
	struct promise *promise;
	struct shadow *shadow;
	int live, image;
	enum order order;
	unsigned seed, kill_at;
	int messages;		/* of this run: an even number */
	bool kill_after, first_start;
	bool same;		/* the shadow knows the live tree's shape */
	struct queue_spare spare;	/* one file that is over, or id 0 */
};

static bool verbose;

static size_t done_area(const struct run *run)
{
	return run->order == ORDER_SPARE_FORGOTTEN ? DONE_SMALL : DONE_AREA;
}

/* --- the child -------------------------------------------------------- */

static int hook(const struct sys_event *ev, void *ctx)
{
	struct run *run = ctx;
	struct promise *p = run->promise;

	if (ev->op == SYS_CLOSE)
		return 0;
	if (!ev->after)
		p->operations++;
	else
		shadow_event(run->shadow, ev);
	if (p->operations == run->kill_at && ev->after == run->kill_after)
		kill(getpid(), SIGKILL);
	return 0;
}

static char *fill(uint64_t id, uint32_t octets)
{
	static char text[200000];
	uint32_t x = (uint32_t)id * 2654435761u + 1;

	for (uint32_t i = 0; i < octets; i++) {
		x = x * 1103515245u + 12345u;
		text[i] = (char)(x >> 16);
	}
	return text;
}

static struct queue_recipient recipients[RECIPIENTS] = {
	{ .address = { "a@example.org", 13 } },
	{ .address = { "b@example.org", 13 } },
};

static void commit(int fd, const struct message *m)
{
	struct queue_envelope e = { .arrival = 1, .sender = STR("s@x"),
		.recipients = recipients, .recipient_count = RECIPIENTS };
	char *text = fill(m->id, m->octets);
	struct queue_commit *c;
	const char *why;

	must(queue_commit_begin(&c, fd, m->id, 1 << 20), "begin");
	/* The first octets come last, as a signature does. */
	must(queue_commit_append(c, str_n(text + 10, m->octets - 10)),
	    "append");
	must(queue_commit_splice(c, 0, 0, str_n(text, 10)), "splice");
	must(queue_commit(c, &e, &why), "commit");
	queue_commit_end(&c);
}

/* The octets of a committed file, written elsewhere and not synced. */
static void commit_unsynced(struct run *run, int fd, const struct message *m)
{
	static char copy[250000];
	int scratch;
	ssize_t n;

	sys_set_hook(NULL, NULL);
	scratch = openat(run->image, "scratch", O_RDWR | O_CREAT | O_TRUNC,
	    0600);
	commit(scratch, m);
	n = sys_pread_full(scratch, copy, sizeof(copy), 0);
	close(scratch);
	unlinkat(run->image, "scratch", 0);
	sys_set_hook(hook, run);
	must(sys_pwrite_all(fd, copy, (size_t)n, 0), "write");
}

/* Verbs 1 and 2, as run->order has it; the last line is the 250. */
static struct message *receive(struct run *run, struct queue_spool *s,
    struct queue_done *d)
{
	struct promise *p = run->promise;
	int in = s->place[QUEUE_INCOMING], fd;
	struct message *m = &p->messages[p->count];
	char name[QUEUE_ID_SIZE];

	m->octets = rand_r(&run->seed) % 32 == 0
	    ? 66000 + (uint32_t)rand_r(&run->seed) % 5000
	    : 20 + (uint32_t)rand_r(&run->seed) % 2000;
	if (run->order == ORDER_OURS || run->order >= ORDER_NO_FILE_SYNC) {
		struct queue_spare *spare = &run->spare;

		must(queue_spool_stock(s, 1, spare, spare->id != 0, &m->id,
		    &fd), "stock");
		if (spare->id != 0)
			queue_done_forget(d, spare->id);
		spare->id = 0;
	} else {
		m->id = s->next_id++;
		queue_id_text(m->id, name);
		fd = sys_openat(in, run->order == ORDER_NO_DIR_SYNC ? name
		    : "tmp", O_RDWR | O_CREAT | O_EXCL, 0600);
		must(fd, "open");
	}
	p->highest_id = m->id;
	p->count++;
	if (run->order == ORDER_NO_FILE_SYNC)
		commit_unsynced(run, fd, m);
	else
		commit(fd, m);
	if (run->order == ORDER_LINK_LATE) {
		must(sys_linkat(in, "tmp", in, name), "link");
		must(sys_unlinkat(in, "tmp"), "unlink");
	} else if (run->order == ORDER_RENAME_LATE) {
		must(sys_renameat(in, "tmp", in, name), "rename");
	}
	m->acked = true;
	sys_close(fd);
	return m;
}

static int settle(void *ctx)
{
	struct queue_spool *s = ctx;

	return sys_fsync(s->place[QUEUE_INCOMING]);
}

static void record(struct run *run, struct queue_spool *s,
    struct queue_done *d, struct message *m, uint32_t r)
{
	m->result[r] = BEGUN;
	must(queue_done_add(d, m->id, r, QUEUE_LOG_SENT, 1), "done");
	if (run->order == ORDER_DONE_UNSYNCED)
		m->result[r] = RECORDED;
	must(queue_done_sync(d, settle, s), "done sync");
	m->result[r] = RECORDED;
}

/* Appends what is known of the recipients to the file's own log. */
static void log_results(struct run *run, struct queue_spool *s,
    const struct queue_name *name, struct message *m,
    const enum queue_log_what what[RECIPIENTS])
{
	struct queue_reader reader;
	const char *why;
	uint64_t end;
	struct buf b;
	int fd;

	buf_init(&b, 65536);
	fd = queue_spool_open_file(s, name, true);
	must(fd, "open");
	must(queue_reader_open_header(&reader, fd, m->id, &why), why);
	must(queue_log_read(fd, &reader.header, NULL, NULL, &end), "log");
	for (uint32_t r = 0; r < RECIPIENTS; r++) {
		struct queue_log_record rec = { r, what[r], 1, STR("4.0.0"),
			STR(""), STR("not now") };

		if (what[r] != 0)
			must(queue_log_encode(m->id, &rec, &b), "encode");
	}
	if (run->order == ORDER_DEFER_UNSYNCED)
		must(sys_pwrite_all(fd, b.p, b.n, (off_t)end), "write");
	else
		must(queue_log_append(fd, buf_str(&b), &end), "append");
	sys_close(fd);
	buf_fini(&b);
}

/* True: kept as a spare, and `done` has to remember it. */
static bool retire(struct run *run, struct queue_spool *s, uint64_t id)
{
	int fd;

	if (run->spare.id != 0 || rand_r(&run->seed) % 4 == 0 ||
	    (fd = queue_spool_retire(s, id)) < 0)
		return false;
	run->spare = (struct queue_spare){ id, fd };
	return true;
}

static void release(struct queue_spool *s, const struct queue_name *name)
{
	must(queue_spool_release(s, name), "release");
	if (name->place == QUEUE_DEFERRED)
		queue_spool_drop_due(s, name->due);
}

/* One recipient delivered, the other deferred, perhaps retried. */
static void defer(struct run *run, struct queue_spool *s,
    struct queue_done *d, struct message *m)
{
	struct queue_name name = { m->id, QUEUE_INCOMING, 0 };
	static const enum queue_log_what first[RECIPIENTS] = {
		QUEUE_LOG_SENT, QUEUE_LOG_DEFERRED };
	static const enum queue_log_what second[RECIPIENTS] = {
		0, QUEUE_LOG_FAILED };
	static const enum queue_log_what third[RECIPIENTS] = {
		0, QUEUE_LOG_NOTIFIED };
	int64_t due = queue_due_bucket(1000 +
	    (int64_t)(rand_r(&run->seed) % 4) * 64, QUEUE_DUE_BUCKET);

	record(run, s, d, m, 0);
	log_results(run, s, &name, m, first);
	must(queue_spool_move(s, &name, QUEUE_DEFERRED, due), "move");
	must(queue_spool_sync(s, &name), "sync");
	queue_done_forget(d, m->id);
	if (rand_r(&run->seed) % 2)
		return;
	m->result[1] = BEGUN;
	log_results(run, s, &name, m, second);
	log_results(run, s, &name, m, third);
	m->result[1] = RECORDED;
	release(s, &name);
}

static void handle(struct run *run, struct queue_spool *s,
    struct queue_done *d, struct message *m)
{
	struct queue_name name = { m->id, QUEUE_INCOMING, 0 };

	switch (rand_r(&run->seed) % 4) {
	case 0:
		defer(run, s, d, m);
		break;
	case 1:
		must(queue_spool_move(s, &name, rand_r(&run->seed) % 2
		    ? QUEUE_HOLD : QUEUE_CORRUPT, 0), "move");
		must(queue_spool_sync(s, &name), "sync");
		break;
	default:
		record(run, s, d, m, 0);
		if (run->order == ORDER_REUSE_UNRECORDED &&
		    retire(run, s, m->id))
			break;
		record(run, s, d, m, 1);
		if (!retire(run, s, m->id))
			release(s, &name);
		else if (run->order != ORDER_SPARE_FORGOTTEN)
			break;
		queue_done_forget(d, m->id);
	}
}

/* Records of messages of earlier runs, which the parent removed. */
static void forget(uint64_t id, uint32_t recipient, enum queue_log_what what,
    int64_t when, void *ctx)
{
	(void)recipient, (void)what, (void)when;
	queue_done_forget(ctx, id);
}

static int note(enum queue_found found, const struct queue_name *name,
    const char *file, int fd, const char *why, void *ctx)
{
	(void)found, (void)name, (void)file, (void)fd, (void)why, (void)ctx;
	return 0;
}

static void scenario(struct run *run)
{
	struct queue_spool s;
	struct queue_done *d;
	const char *why;

	run->spare.id = 0;
	sys_set_hook(hook, run);
	must(queue_spool_open(&s, run->live, true, false, &why), why);
	d = queue_done_open(run->live, done_area(run));
	must(d == NULL ? -1 : 0, "done");
	queue_done_read(d, forget, d);
	must(queue_recover(&s, note, NULL), "recover");
	for (int i = 0; i < run->messages; i += 2) {
		struct message *a = receive(run, &s, d);
		struct message *b = receive(run, &s, d);

		handle(run, &s, d, a);
		handle(run, &s, d, b);
	}
	queue_done_close(&d);
	queue_spool_close(&s);
}

/* --- the parent: what is there is held against what was promised ------- */

struct view {
	struct run *run;
	const char *name;
	bool found[MESSAGES];
	bool known[MESSAGES][RECIPIENTS];	/* a final result is known */
	int *broken;		/* one count a kind */
	struct queue_name names[2 * MESSAGES];	/* of files that are there */
	int name_count;
};

static void violation(struct view *v, enum broken kind,
    const struct message *m, const char *what)
{
	char id[QUEUE_ID_SIZE];

	v->broken[kind]++;
	if (verbose)
		fprintf(stderr, "crash-h1: %s: %s: %s (kill %s operation %u, "
		    "seed %u)\n", v->name, queue_id_text(m->id, id), what,
		    v->run->kill_after ? "after" : "before",
		    v->run->kill_at, v->run->seed);
}

static int index_of(const struct view *v, uint64_t id)
{
	for (int i = 0; i < v->run->promise->count; i++)
		if (v->run->promise->messages[i].id == id)
			return i;
	return -1;
}

static void done_seen(uint64_t id, uint32_t recipient,
    enum queue_log_what what, int64_t when, void *ctx)
{
	struct view *v = ctx;
	int i = index_of(v, id);

	(void)what, (void)when;
	if (i >= 0 && recipient < RECIPIENTS)
		v->known[i][recipient] = true;
}

struct log_seen {
	struct view *view;
	int index;
};

static int log_record_seen(const struct queue_log_record *r, void *ctx)
{
	struct log_seen *l = ctx;

	if (r->recipient < RECIPIENTS && r->what != QUEUE_LOG_DEFERRED)
		l->view->known[l->index][r->recipient] = true;
	return 0;
}

static int found(enum queue_found what, const struct queue_name *name,
    const char *file, int fd, const char *why, void *ctx)
{
	struct view *v = ctx;
	struct log_seen l = { v, index_of(v, name->id) };
	struct queue_reader r;
	struct message *m;
	static char got[200000];
	uint64_t end;

	(void)file;
	if (what != QUEUE_FOUND_REMOVED && name->id != 0 &&
	    v->name_count < 2 * MESSAGES)
		v->names[v->name_count++] = *name;
	if (l.index < 0)
		return 0;
	m = &v->run->promise->messages[l.index];
	if (what != QUEUE_FOUND_MESSAGE) {
		if (m->acked && what != QUEUE_FOUND_REMOVED)
			violation(v, LOST, m, why ? why : "not a message");
		return 0;
	}
	if (v->found[l.index])
		violation(v, OTHER, m, "found twice");
	v->found[l.index] = true;
	/* What recovery put into corrupt/ was promised to nobody. */
	if (name->place == QUEUE_CORRUPT && !m->acked)
		return 0;
	if (queue_reader_open_header(&r, fd, m->id, &why) < 0 ||
	    queue_reader_pread(&r, got, sizeof(got), 0) != m->octets ||
	    memcmp(got, fill(m->id, m->octets), m->octets) != 0)
		violation(v, LOST, m, "other octets than were sent");
	if (queue_log_read(fd, &r.header, log_record_seen, &l, &end) < 0)
		violation(v, OTHER, m, "its log cannot be read");
	return 0;
}

struct pair {
	struct view *view;
	struct queue_spool *spool;
};

static int look(const struct queue_name *name, const char *file, void *ctx)
{
	struct pair *pair = ctx;

	return queue_recover_file(pair->spool, name, file, found,
	    pair->view);
}

/* For the next run. */
static void clear(const struct view *v, const struct queue_spool *s)
{
	for (int i = 0; i < v->name_count; i++) {
		const struct queue_name *name = &v->names[i];

		queue_spool_release(s, name);
		if (name->place == QUEUE_DEFERRED)
			queue_spool_drop_due(s, name->due);
	}
}

static void judge(struct view *v)
{
	struct promise *p = v->run->promise;

	for (int i = 0; i < p->count; i++) {
		struct message *m = &p->messages[i];
		bool open = false;

		for (int r = 0; r < RECIPIENTS; r++) {
			if (m->result[r] == PENDING) {
				open = true;
				if (v->known[i][r])
					violation(v, OTHER, m, "a result that "
					    "nobody gave");
			}
			if (m->result[r] == RECORDED && v->found[i] &&
			    !v->known[i][r])
				violation(v, AGAIN, m, "a recorded recipient "
				    "would be tried again");
		}
		if (m->acked && open && !v->found[i])
			violation(v, LOST, m, "lost");
	}
}

/* Recovers what is in dir as the next start would, and judges it. */
static void check(struct run *run, int dir, const char *name,
    int broken[BROKEN_COUNT])
{
	struct view v = { .run = run, .name = name, .broken = broken };
	struct queue_spool s;
	struct pair pair = { &v, &s };
	struct queue_done *d = NULL;
	const char *why;

	if (queue_spool_open(&s, dir, true, false, &why) < 0) {
		fprintf(stderr, "crash-h1: %s: %s\n", why, strerror(errno));
		broken[OTHER]++;
		return;
	}
	d = queue_done_open(dir, done_area(run));
	if (d == NULL || queue_done_read(d, done_seen, &v) < 0 ||
	    queue_recover(&s, found, &v) < 0) {
		fprintf(stderr, "crash-h1: recovery failed: %s\n",
		    strerror(errno));
		v.broken[OTHER]++;
	}
	for (int i = QUEUE_DEFERRED; i < QUEUE_PLACE_COUNT; i++)
		if (queue_spool_scan(&s, i, INT64_MAX, look, &pair) < 0)
			v.broken[OTHER]++;
	judge(&v);
	clear(&v, &s);
	if (s.next_id <= run->promise->highest_id) {
		v.broken[OTHER]++;
		if (verbose)
			fprintf(stderr, "crash-h1: an id would be given "
			    "twice\n");
	}
	queue_done_close(&d);
	queue_spool_close(&s);
}

static void prepare(struct run *run)
{
	struct queue_spool s;
	struct queue_done *d;
	const char *why;

	memset(run->promise, 0, sizeof(*run->promise));
	/* Losing orders leave names that are no ids. */
	if (run->first_start || run->order != ORDER_OURS) {
		wipe(run->live);
		wipe(run->image);
		run->same = false;
	}
	if (!run->first_start && faccessat(run->live, "done", F_OK, 0) < 0) {
		must(queue_spool_open(&s, run->live, true, false, &why), why);
		d = queue_done_open(run->live, done_area(run));
		must(d == NULL ? -1 : 0, "done");
		queue_done_close(&d);
		queue_spool_close(&s);
	}
	if (run->same && shadow_again(run->shadow, run->live) == 0)
		return;
	must(shadow_reset(run->shadow, run->live), "shadow");
	run->same = !run->first_start;
}

/* One child. True: it died where it was told to. */
static bool go(struct run *run, int broken[BROKEN_COUNT])
{
	unsigned cut_seed = run->seed ^ 0x5bd1e995;
	bool killed;
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
	killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!killed && !run->promise->finished) {
		fprintf(stderr, "crash-h1: the child failed, status %d\n",
		    status);
		exit(2); /* says nothing about any order */
	}
	if (shadow_overflowed(run->shadow)) {
		fprintf(stderr, "crash-h1: the shadow's tables are full\n");
		exit(2);
	}
	/* Every second one: a process dies more often than the power. */
	if (run->order != ORDER_OURS || rand_r(&cut_seed) % 2) {
		must(shadow_cut(run->shadow, run->live, run->image,
		    (enum shadow_choice)(rand_r(&cut_seed) % 3), &cut_seed),
		    "cut");
		check(run, run->image, "power cut", broken);
	}
	check(run, run->live, "kill", broken);
	return killed;
}

/* Of the longest among some: a run's length depends on its seed, and what
 * comes late in a long one has to be reached. */
static unsigned count_operations(struct run *run, int messages,
    unsigned *seed)
{
	int broken[BROKEN_COUNT] = { 0 };
	unsigned most = 0;

	run->kill_at = 0;
	run->messages = messages;
	for (int i = 0; i < COUNTED_RUNS; i++) {
		run->seed = (unsigned)rand_r(seed);
		go(run, broken);
		if (run->promise->operations > most)
			most = run->promise->operations;
	}
	return most;
}

struct total {
	unsigned long runs, kills;
	int broken[BROKEN_COUNT];
};

static struct total storm(struct run *run, unsigned long kills,
    unsigned long runs_max, unsigned *seed)
{
	struct total t = { 0 };
	unsigned few = count_operations(run, 2, seed),
	    many = count_operations(run, MESSAGES, seed);

	while (t.kills < kills && t.runs < runs_max) {
		run->seed = (unsigned)rand_r(seed);
		run->first_start = run->order == ORDER_OURS && t.runs % 128 == 0;
		/* The area of the done log is only filled by the long ones. */
		run->messages = t.runs % 4 != 0 && run->order == ORDER_OURS
		    ? 2 : MESSAGES;
		run->kill_at = 1 + (unsigned)rand_r(seed) %
		    (run->messages == 2 ? few : many);
		run->kill_after = rand_r(seed) % 2;
		t.kills += go(run, t.broken);
		t.runs++;
		if (run->order != ORDER_OURS &&
		    t.broken[order_breaks[run->order]] > 0)
			break;
	}
	run->first_start = false;
	return t;
}

/* Every losing order has to be caught, else a pass would mean nothing. */
static int try_controls(struct run *run, unsigned *seed)
{
	int blind = 0;

	for (int order = 1; order < ORDER_COUNT; order++) {
		struct total t;
		bool caught;

		run->order = (enum order)order;
		t = storm(run, CONTROL_RUNS, CONTROL_RUNS, seed);
		caught = t.broken[order_breaks[order]] > 0;
		printf("crash-h1: %s: %s after %lu kills\n",
		    order_names[order], caught ? "caught" : "NOT CAUGHT",
		    t.kills);
		blind += !caught;
	}
	run->order = ORDER_OURS;
	return blind;
}

static int usage(void)
{
	fprintf(stderr, "usage: crash-h1 [--kills N] [--jobs N] [--seed S] "
	    "[--dir DIR] [-v]\n");
	return 64;
}

/* A spool, an image and a shadow of its own below base. */
static void begin(struct run *run, const char *base, char root[128])
{
	scratch_begin(base, root, &run->live, &run->image);
	run->shadow = shadow_new();
	must(run->shadow == NULL ? -1 : 0, "mmap");
	run->promise = shared(sizeof(*run->promise));
}

static struct total storms(const char *base, unsigned long kills, int jobs,
    unsigned *seed)
{
	struct total *totals = shared((size_t)jobs * sizeof(*totals)), sum;
	int status;

	for (int j = 0; j < jobs; j++) {
		unsigned mine = (unsigned)rand_r(seed);
		unsigned long share = kills / (unsigned)jobs +
		    (j == 0 ? kills % (unsigned)jobs : 0);
		struct run run = { 0 };
		char root[128];
		pid_t pid = fork();

		must(pid, "fork");
		if (pid > 0)
			continue;
		begin(&run, base, root);
		totals[j] = storm(&run, share, 4 * share + 100, &mine);
		scratch_end(root, run.live, run.image);
		_exit(0);
	}
	while (wait(&status) > 0)
		if (status != 0)
			totals[0].broken[OTHER]++;
	sum = totals[0];
	for (int j = 1; j < jobs; j++) {
		sum.runs += totals[j].runs;
		sum.kills += totals[j].kills;
		for (int k = 0; k < BROKEN_COUNT; k++)
			sum.broken[k] += totals[j].broken[k];
	}
	return sum;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "seed", required_argument, NULL, 's' },
		{ "dir", required_argument, NULL, 'd' }, { 0 },
	};
	unsigned long kills = 100000;
	long jobs = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned seed = (unsigned)clock_wall(), given;
	const char *base = "";
	struct run run = { 0 };
	char root[128];
	struct total t;
	int c, blind, violations;
	int64_t start;

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1)
		switch (c) {
		case 'k': kills = strtoul(optarg, NULL, 10); break;
		case 'j': jobs = strtol(optarg, NULL, 10); break;
		case 's': seed = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'd': base = optarg; break;
		case 'v': verbose = true; break;
		default: return usage();
		}
	if (jobs < 1 || jobs > 64)
		jobs = 1;
	given = seed;
	signal(SIGIO, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	begin(&run, base, root);
	blind = try_controls(&run, &seed);
	scratch_end(root, run.live, run.image);
	verbose = true;
	start = clock_now();
	t = storms(base, kills, (int)jobs, &seed);
	violations = t.broken[LOST] + t.broken[AGAIN] + t.broken[OTHER];
	printf("crash-h1: %s: %lu kills in %lu runs, %d violations, "
	    "%.1f s, seed %u\n", order_names[ORDER_OURS], t.kills, t.runs,
	    violations, (double)(clock_now() - start) / 1e6, given);
	if (blind > 0)
		printf("crash-h1: BLIND: %d losing orders passed\n", blind);
	return blind > 0 || violations > 0 || t.kills < kills ? 1 : 0;
}
