/*
 * replay.c - power cuts, made from what recorder.c wrote down
 *
 *	crash-replay --log LOG --fs TYPE --disk IMAGE=MOUNTPOINT [--disk ...]
 *	    --ledger FILE --oracle PROGRAM --spool DIR [--mail DIR]
 *	    [--sink DIR --view DIR] [--states N] [--seed N] [--only K]
 *	    [--resume N] [--save DIR] [-v]
 *
 * A state is what the power might have left: the log up to some place (just
 * behind a client's mark, or anywhere). What was flushed there is on the
 * disk. Of the writes since the last flush each is there or not, in any
 * combination, and one may be torn: some of its sectors. (Of two writes to
 * one place the later counts, if it is there: a file system does not send a
 * second one while the first is under way.) Each state is mounted, so that
 * the file system's own recovery runs, and the oracle looks at spool and
 * mailboxes for all that was acknowledged before the last mark.
 *
 * IMAGE is the disk as it was when the log began. Images are in memory: as
 * the places ascend, what is flushed goes into two copies, `durable` and
 * `work`. A state is made in `work`, on which the loop device sits, and
 * afterwards taken back by comparing the two; nothing is copied whole.
 *
 * --sink: files whose names begin with the number of the mark at which a
 * relay took a message; --view gets links to those of before the cut.
 * --resume N: in every Nth state "resume MARK STATE" is printed, and a line is
 * awaited: "ok", or what is wrong.
 * --only K: makes the Kth state alone; --save: its images go there.
 *
 * The last line counts; exit status 1 when any state was bad.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/loop.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "powerlog.h"

#define PAGE 4096u
#define BAD_SHOWN 10		/* bad states whose problems are printed */

struct disk {
	const char *image, *mountpoint;
	uint64_t size;
	unsigned char *durable, *work;
	unsigned char *touched;	/* a page, an octet: durable is not zero */
	int work_fd, loop_fd;
	char loop[32];
	const struct powerlog_record **pending;	/* since the last flush */
	size_t npending, pending_max;
};

struct options {
	const char *log, *fs, *ledger, *oracle, *spool, *mail, *sink, *view;
	const char *save;
	unsigned long states, resume;
	long only;
	uint64_t seed;
	bool verbose;
};

struct state {
	unsigned long number;
	size_t place;		/* records before the cut */
	uint64_t random;
};

struct sunk {
	unsigned long mark;
	char *name;
};

static struct options opt = { .states = 100, .only = -1, .seed = 1,
	.fs = "ext4" };
static struct disk disks[POWERLOG_DISKS];
static int ndisks;
static const struct powerlog_record **records;
static size_t nrecords;
static struct sunk *sunk;
static size_t nsunk, nviewed;
static struct {
	unsigned long states, cut, torn, reordered, unmountable, bad, lost;
	unsigned long resumed;
} count;

static void die(const char *what)
{
	fprintf(stderr, "crash-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* splitmix64: each state has a seed of its own and can be made alone. */
static uint64_t next_random(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* --- the log ---------------------------------------------------------- */

static void load_log(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const char *p;
	size_t max = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	p = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		die(path);
	close(fd);
	for (size_t at = 0; at < (size_t)st.st_size;) {
		struct powerlog_record *r = malloc(sizeof(*r) +
		    sizeof(const char *));

		if (r == NULL || (size_t)st.st_size - at < sizeof(*r))
			die("log");
		memcpy(r, p + at, sizeof(*r));
		at += sizeof(*r);
		/* the octets' place stands behind the record */
		memcpy(r + 1, &(const char *){ p + at }, sizeof(const char *));
		if (r->what == POWERLOG_WRITE)
			at += r->octets;
		if (r->what < POWERLOG_WRITE || r->what >= POWERLOG_WHAT_END ||
		    (int)r->disk >= ndisks || at > (size_t)st.st_size) {
			errno = EBADMSG;
			die("log");
		}
		if (nrecords == max) {
			max = max == 0 ? 65536 : max * 2;
			records = realloc(records, max * sizeof(*records));
			if (records == NULL)
				die("log");
		}
		records[nrecords++] = r;
	}
}

static const unsigned char *octets_of(const struct powerlog_record *r)
{
	const unsigned char *p;

	memcpy(&p, r + 1, sizeof(p));
	return p;
}

/* --- disks ------------------------------------------------------------ */

static void attach_loop(struct disk *d)
{
	struct loop_config config = { .fd = (uint32_t)d->work_fd,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n;

	if (control < 0)
		die("/dev/loop-control");
	for (int tries = 0; tries < 100; tries++) {
		if ((n = ioctl(control, LOOP_CTL_GET_FREE)) < 0)
			die("LOOP_CTL_GET_FREE");
		snprintf(d->loop, sizeof(d->loop), "/dev/loop%d", n);
		d->loop_fd = open(d->loop, O_RDWR | O_CLOEXEC);
		if (d->loop_fd < 0)
			die(d->loop);
		if (ioctl(d->loop_fd, LOOP_CONFIGURE, &config) == 0) {
			close(control);
			return;
		}
		if (errno != EBUSY) /* somebody else was faster */
			die(d->loop);
		close(d->loop_fd);
	}
	die("no free loop device");
}

static void load_disk(struct disk *d)
{
	int fd = open(d->image, O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t at = 0, end;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(d->image);
	d->size = (uint64_t)st.st_size;
	d->durable = mmap(NULL, d->size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	d->work_fd = memfd_create("disk", MFD_CLOEXEC);
	d->touched = calloc(d->size / PAGE + 1, 1);
	if (d->durable == MAP_FAILED || d->touched == NULL ||
	    d->work_fd < 0 || ftruncate(d->work_fd, st.st_size) < 0)
		die(d->image);
	d->work = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    d->work_fd, 0);
	if (d->work == MAP_FAILED)
		die(d->image);
	while (at < st.st_size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		if ((end = lseek(fd, at, SEEK_HOLE)) < 0 ||
		    pread(fd, d->durable + at, (size_t)(end - at), at) !=
		    end - at)
			die(d->image);
		memcpy(d->work + at, d->durable + at, (size_t)(end - at));
		memset(d->touched + (size_t)at / PAGE, 1,
		    ((size_t)(end - at) + PAGE - 1) / PAGE);
		at = end;
	}
	close(fd);
	attach_loop(d);
}

static void check_range(const struct disk *d, const struct powerlog_record *r)
{
	if (r->at > d->size || r->octets > d->size - r->at) {
		errno = ERANGE;
		die("log");
	}
}

static void apply(unsigned char *to, const struct powerlog_record *r)
{
	if (r->what == POWERLOG_WRITE)
		memcpy(to + r->at, octets_of(r), r->octets);
	else
		memset(to + r->at, 0, r->octets);
}

/* Only some of its sectors. */
static void apply_torn(unsigned char *to, const struct powerlog_record *r,
    uint64_t *random)
{
	uint64_t sectors = r->octets / POWERLOG_SECTOR;
	uint64_t whole = next_random(random) % (sectors + 1);
	bool first_only = next_random(random) % 2 == 0;

	for (uint64_t i = 0; i < sectors; i++) {
		size_t at = (size_t)(i * POWERLOG_SECTOR);

		if (first_only ? i >= whole : next_random(random) % 2 == 0)
			continue;
		if (r->what == POWERLOG_WRITE)
			memcpy(to + r->at + at, octets_of(r) + at,
			    POWERLOG_SECTOR);
		else
			memset(to + r->at + at, 0, POWERLOG_SECTOR);
	}
}

static void flush(struct disk *d)
{
	for (size_t i = 0; i < d->npending; i++) {
		const struct powerlog_record *r = d->pending[i];

		if (r->octets == 0)
			continue;
		apply(d->durable, r);
		apply(d->work, r);
		memset(d->touched + r->at / PAGE, 1,
		    (r->at + r->octets - 1) / PAGE - r->at / PAGE + 1);
	}
	d->npending = 0;
}

static void add_pending(struct disk *d, const struct powerlog_record *r)
{
	check_range(d, r);
	if (d->npending == d->pending_max) {
		d->pending_max = d->pending_max == 0 ? 1024 :
		    d->pending_max * 2;
		d->pending = realloc(d->pending, d->pending_max *
		    sizeof(const struct powerlog_record *));
		if (d->pending == NULL)
			die("pending writes");
	}
	d->pending[d->npending++] = r;
}

static void restore_page(struct disk *d, size_t page)
{
	size_t at = page * PAGE;
	size_t n = d->size - at < PAGE ? (size_t)(d->size - at) : PAGE;

	if (memcmp(d->work + at, d->durable + at, n) != 0)
		memcpy(d->work + at, d->durable + at, n);
}

/* Takes back what the state and the file system did to `work`. */
static void restore(struct disk *d)
{
	off_t at = 0, end, size = (off_t)d->size;

	for (size_t i = 0; i < d->size / PAGE; i++)
		if (d->touched[i])
			restore_page(d, i);
	while (at < size && (at = lseek(d->work_fd, at, SEEK_DATA)) >= 0) {
		if ((end = lseek(d->work_fd, at, SEEK_HOLE)) < 0)
			die("SEEK_HOLE");
		for (size_t i = (size_t)at / PAGE; i < (size_t)end / PAGE; i++)
			if (!d->touched[i])
				restore_page(d, i);
		at = end;
	}
}

/* --- states ----------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct state *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Half of them just behind a mark, the others anywhere behind the first. */
static struct state *choose_states(void)
{
	struct state *states = calloc(opt.states, sizeof(*states));
	size_t *marks = calloc(nrecords + 1, sizeof(*marks)), nmarks = 0;

	if (states == NULL || marks == NULL)
		die("states");
	for (size_t i = 0; i < nrecords; i++)
		if (records[i]->what == POWERLOG_MARK)
			marks[nmarks++] = i + 1;
	if (nmarks == 0) {
		errno = ENODATA;
		die("the log has no mark");
	}
	for (unsigned long k = 0; k < opt.states; k++) {
		struct state *s = &states[k];

		s->number = k;
		s->random = opt.seed * 0x100000001b3u + k;
		if (next_random(&s->random) % 2 == 0)
			s->place = marks[next_random(&s->random) % nmarks];
		else
			s->place = marks[0] + next_random(&s->random) %
			    (nrecords + 1 - marks[0]);
	}
	qsort(states, opt.states, sizeof(*states), by_place);
	free(marks);
	return states;
}

/* Makes the state of one disk in `work`. True when a write is torn. */
static bool make_state(struct disk *d, uint64_t *random, bool *reordered)
{
	/* of 8 writes so many are there: all, none, and between */
	static const unsigned kept[] = { 8, 0, 4, 7, 1, 4 };
	unsigned keep = kept[next_random(random) % 6];
	bool torn = false;
	size_t tear = SIZE_MAX;

	if (d->npending > 0 && next_random(random) % 3 == 0)
		tear = next_random(random) % d->npending;
	for (size_t i = 0; i < d->npending; i++) {
		const struct powerlog_record *r = d->pending[i];

		if (i == tear && r->octets > POWERLOG_SECTOR) {
			apply_torn(d->work, r, random);
			torn = true;
		} else if (next_random(random) % 8 < keep) {
			apply(d->work, r);
			if (i > 0 && keep != 8)
				*reordered = true;
		}
	}
	return torn;
}

static void save(const struct state *s)
{
	char path[4096];

	if (opt.save == NULL)
		return;
	for (int i = 0; i < ndisks; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/state%lu.disk%d", opt.save,
		    s->number, i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, disks[i].work, disks[i].size) !=
		    (ssize_t)disks[i].size)
			die(path);
		close(fd);
	}
}

static const char *mount_data(void)
{
	if (strcmp(opt.fs, "xfs") == 0)
		return "nouuid";
	if (strcmp(opt.fs, "btrfs") == 0)
		return "nodiscard";
	return "errors=remount-ro";
}

static void unmount(const struct disk *d)
{
	struct timespec pause = { .tv_nsec = 10000000 };

	for (int tries = 0; tries < 500; tries++) {
		if (umount2(d->mountpoint, 0) == 0)
			return;
		if (errno != EBUSY)
			break;
		nanosleep(&pause, NULL); /* a program is about to end */
	}
	die(d->mountpoint);
}

static int mount_all(void)
{
	for (int i = 0; i < ndisks; i++) {
		/* what the block layer remembers of the state before */
		if (ioctl(disks[i].loop_fd, BLKFLSBUF, 0) < 0)
			die("BLKFLSBUF");
		if (mount(disks[i].loop, disks[i].mountpoint, opt.fs,
		    MS_NOATIME, mount_data()) < 0) {
			int error = errno;

			while (i-- > 0)
				unmount(&disks[i]);
			errno = error;
			return -1;
		}
	}
	return 0;
}

/* --- the oracle ------------------------------------------------------- */

static int by_mark(const void *a, const void *b)
{
	const struct sunk *x = a, *y = b;

	return x->mark < y->mark ? -1 : x->mark > y->mark;
}

static void load_sink(void)
{
	DIR *dir = opendir(opt.sink);
	struct dirent *e;
	size_t max = 0;

	if (dir == NULL)
		die(opt.sink);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		if (nsunk == max) {
			max = max == 0 ? 256 : max * 2;
			sunk = realloc(sunk, max * sizeof(*sunk));
		}
		if (sunk == NULL || (sunk[nsunk].name = strdup(e->d_name)) ==
		    NULL)
			die(opt.sink);
		sunk[nsunk++].mark = strtoul(e->d_name, NULL, 10);
	}
	closedir(dir);
	qsort(sunk, nsunk, sizeof(*sunk), by_mark);
}

static void view_sink(unsigned long mark)
{
	char from[4096], to[4096];

	for (; nviewed < nsunk && sunk[nviewed].mark <= mark; nviewed++) {
		snprintf(from, sizeof(from), "%s/%s", opt.sink,
		    sunk[nviewed].name);
		snprintf(to, sizeof(to), "%s/%s", opt.view,
		    sunk[nviewed].name);
		if (link(from, to) < 0)
			die(to);
	}
}

/* Its output in text, cut to size; its exit status. */
static int ask_oracle(unsigned long mark, char *text, size_t size)
{
	char number[32];
	const char *args[20] = { opt.oracle, "--ledger", opt.ledger,
		"--acked-until", number, "--window", "1", "--spool",
		opt.spool };
	posix_spawn_file_actions_t actions;
	size_t n = 0, k = 9;
	int pipes[2], status, rc;
	ssize_t got;
	pid_t pid;

	snprintf(number, sizeof(number), "%lu", mark);
	if (opt.mail != NULL) {
		args[k++] = "--mail";
		args[k++] = opt.mail;
	}
	if (opt.sink != NULL) {
		args[k++] = "--sink";
		args[k++] = opt.view;
	}
	if (pipe2(pipes, O_CLOEXEC) < 0)
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
	rc = posix_spawn(&pid, opt.oracle, &actions, NULL,
	    (char *const *)(uintptr_t)args, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[1]);
	if (rc != 0) {
		errno = rc;
		die(opt.oracle);
	}
	while ((got = read(pipes[0], text + n, size - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	while (got > 0) { /* more than anybody reads */
		char rest[4096];

		got = read(pipes[0], rest, sizeof(rest));
	}
	close(pipes[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The parent starts the suite on what is mounted. */
static bool ask_parent(const struct state *s, unsigned long mark, char *text,
    size_t size)
{
	printf("resume %lu %lu\n", mark, s->number);
	fflush(stdout);
	if (fgets(text, (int)size, stdin) == NULL)
		snprintf(text, size, "the parent ended");
	return strcmp(text, "ok\n") == 0;
}

static void judge(const struct state *s, bool torn)
{
	static char text[65536];
	bool resume = opt.resume > 0 && s->number % opt.resume == 0, ok;
	unsigned long mark = 0;

	for (size_t i = s->place; i-- > 0 && mark == 0;)
		if (records[i]->what == POWERLOG_MARK)
			mark = (unsigned long)records[i]->at;
	if (mount_all() < 0) {
		snprintf(text, sizeof(text), "cannot be mounted: %s\n",
		    strerror(errno));
		ok = false;
		/* A torn write may be more than the file system promises to
		 * survive: counted, and not our doing. */
		if (torn) {
			count.unmountable++;
			return;
		}
	} else {
		view_sink(mark);
		ok = ask_oracle(mark, text, sizeof(text)) == 0;
		if (strncmp(text, "LOST", 4) == 0 ||
		    strstr(text, "\nLOST") != NULL)
			count.lost++;
		if (ok && resume) {
			count.resumed++;
			ok = ask_parent(s, mark, text, sizeof(text));
		}
		for (int i = 0; i < ndisks; i++)
			unmount(&disks[i]);
	}
	if (!ok && count.bad++ < BAD_SHOWN) {
		printf("bad state %lu (seed %llu) at record %zu, mark %lu"
		    "%s:\n%s", s->number, (unsigned long long)opt.seed,
		    s->place, mark, torn ? ", torn" : "", text);
		fflush(stdout);
	}
}

static void run_state(const struct state *s)
{
	bool torn = false, reordered = false;
	uint64_t random = s->random;

	for (int i = 0; i < ndisks; i++)
		if (make_state(&disks[i], &random, &reordered))
			torn = true;
	count.states++;
	count.torn += torn;
	count.reordered += reordered;
	if (opt.verbose)
		fprintf(stderr, "state %lu at %zu%s\n", s->number, s->place,
		    torn ? " torn" : "");
	if (opt.save != NULL && opt.only >= 0)
		save(s);
	judge(s, torn);
	for (int i = 0; i < ndisks; i++)
		restore(&disks[i]);
}

static void run_states(const struct state *states)
{
	size_t place = 0;

	for (unsigned long k = 0; k < opt.states; k++) {
		for (; place < states[k].place; place++) {
			const struct powerlog_record *r = records[place];
			struct disk *d = &disks[r->disk];

			if (r->what == POWERLOG_FLUSH)
				flush(d);
			else if (r->what != POWERLOG_MARK)
				add_pending(d, r);
		}
		if (opt.only < 0 || (unsigned long)opt.only ==
		    states[k].number)
			run_state(&states[k]);
	}
}

/* --- start ------------------------------------------------------------ */

static void add_disk(char *text)
{
	char *equal = strchr(text, '=');

	if (equal == NULL || ndisks == POWERLOG_DISKS) {
		errno = EINVAL;
		die(text);
	}
	*equal = '\0';
	disks[ndisks].image = text;
	disks[ndisks++].mountpoint = equal + 1;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", required_argument, NULL, 'l' },
		{ "fs", required_argument, NULL, 'f' },
		{ "disk", required_argument, NULL, 'd' },
		{ "ledger", required_argument, NULL, 'L' },
		{ "oracle", required_argument, NULL, 'o' },
		{ "spool", required_argument, NULL, 's' },
		{ "mail", required_argument, NULL, 'm' },
		{ "sink", required_argument, NULL, 'k' },
		{ "view", required_argument, NULL, 'w' },
		{ "states", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'e' },
		{ "only", required_argument, NULL, 'O' },
		{ "resume", required_argument, NULL, 'r' },
		{ "save", required_argument, NULL, 'S' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		switch (c) {
		case 'l': opt.log = optarg; break;
		case 'f': opt.fs = optarg; break;
		case 'd': add_disk(optarg); break;
		case 'L': opt.ledger = optarg; break;
		case 'o': opt.oracle = optarg; break;
		case 's': opt.spool = optarg; break;
		case 'm': opt.mail = optarg; break;
		case 'k': opt.sink = optarg; break;
		case 'w': opt.view = optarg; break;
		case 'n': opt.states = strtoul(optarg, NULL, 10); break;
		case 'e': opt.seed = strtoull(optarg, NULL, 10); break;
		case 'O': opt.only = strtol(optarg, NULL, 10); break;
		case 'r': opt.resume = strtoul(optarg, NULL, 10); break;
		case 'S': opt.save = optarg; break;
		case 'v': opt.verbose = true; break;
		default: exit(64);
		}
	}
	if (ndisks == 0 || opt.log == NULL || opt.ledger == NULL ||
	    opt.oracle == NULL || opt.spool == NULL ||
	    (opt.sink == NULL) != (opt.view == NULL)) {
		fprintf(stderr, "crash-replay: an option is missing\n");
		exit(64);
	}
}

int main(int argc, char **argv)
{
	struct timespec a, b;
	struct state *states;
	double seconds;

	parse(argc, argv);
	for (int i = 0; i < ndisks; i++)
		load_disk(&disks[i]);
	load_log(opt.log);
	if (opt.sink != NULL)
		load_sink();
	states = choose_states();
	clock_gettime(CLOCK_MONOTONIC, &a);
	run_states(states);
	clock_gettime(CLOCK_MONOTONIC, &b);
	seconds = (double)(b.tv_sec - a.tv_sec) +
	    (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	printf("replay: %lu states (%lu reordered, %lu torn, %lu resumed) in "
	    "%.1f s, %lu unmountable after a torn write, %lu lost, %lu bad\n",
	    count.states, count.reordered, count.torn, count.resumed, seconds,
	    count.unmountable, count.lost, count.bad);
	return count.bad > 0;
}
