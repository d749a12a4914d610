/*
 * swap.c - the attacker of h7.py: swaps what lies in a directory of his
 *
 *	crash-swap --dir DIR [--uid N] [--hold N] --target NAME... \
 *	    --link TEXT... [--hard PATH...]
 *
 * Again and again one of the targets (a path below DIR; with a star for its
 * last part, any entry there) changes places, by one atomic exchange, with
 * something else: a symbolic link to one of the TEXTs, a hard link to one of
 * the PATHs, a FIFO, an empty file, an empty directory, or nothing at all; a
 * file may also be cut to nothing. A moment later it is back. Until SIGTERM;
 * then all is put back, and the number of swaps is printed. It follows no
 * link itself, for another of its kind may be at work on the same tree.
 *
 * --hold: mean time in microseconds for which the real thing stands
 * untouched between two swaps, so that some of the mail goes through; 0: as
 * fast as it can, with a pause of 5 ms after some hundred.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIST_MAX 64
#define PATH_SIZE 600
/* On the same file system, and no mailbox for a Maildir++ program. */
#define ASIDE "swap-aside"

struct list {
	const char *v[LIST_MAX];
	size_t n;
};

enum kind { SYMLINK, HARDLINK, FIFO, FILE_EMPTY, DIRECTORY, CUT, NOTHING,
	KINDS };

static struct {
	int dir, aside;
	struct list targets, links, hards;
	uint64_t seed;
	unsigned long serial, swaps[KINDS];
	unsigned hold;
} self = { .seed = 88172645463325252ull, .hold = 300 };

static volatile sig_atomic_t over;

static void on_term(int sig)
{
	(void)sig;
	over = 1;
}

static unsigned pick(unsigned n)
{
	self.seed ^= self.seed << 13;
	self.seed ^= self.seed >> 7;
	self.seed ^= self.seed << 17;
	return n > 0 ? (unsigned)(self.seed >> 11) % n : 0;
}

static const char *any_of(const struct list *l)
{
	return l->n > 0 ? l->v[pick((unsigned)l->n)] : NULL;
}

static int open_beneath(const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, self.dir, path, &how, sizeof(how));
}

/* The directory that a target is in, and the target's name there. */
struct place {
	int dir;
	char name[NAME_MAX + 1];
};

/* A random entry of the directory; false: it has none. */
static bool any_entry(struct place *p)
{
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY);
	struct dirent *e;
	unsigned seen = 0;
	DIR *d;

	if (fd < 0)
		return false;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return false;
	}
	while ((e = readdir(d)) != NULL)
		/* each is as likely as the others */
		if (e->d_name[0] != '.' && pick(++seen) == 0)
			snprintf(p->name, sizeof(p->name), "%s", e->d_name);
	closedir(d);
	return seen > 0;
}

/* -1: the directory is not there just now, or empty. */
static int choose(struct place *p)
{
	const char *t = any_of(&self.targets), *slash = strrchr(t, '/');
	char parent[PATH_SIZE] = ".";

	if (slash != NULL)
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - t), t);
	snprintf(p->name, sizeof(p->name), "%s", slash ? slash + 1 : t);
	p->dir = open_beneath(parent, O_RDONLY | O_DIRECTORY);
	if (p->dir < 0)
		return -1;
	if (strcmp(p->name, "*") != 0 || any_entry(p))
		return 0;
	close(p->dir);
	return -1;
}

/* Makes the thing that is to take the target's place. */
static int make(enum kind kind, const char *path)
{
	const char *what;
	int fd;

	switch (kind) {
	case SYMLINK:
		if ((what = any_of(&self.links)) == NULL)
			return -1;
		return symlinkat(what, self.aside, path);
	case HARDLINK:
		if ((what = any_of(&self.hards)) == NULL)
			return -1;
		return linkat(AT_FDCWD, what, self.aside, path, 0);
	case FIFO:
		return mkfifoat(self.aside, path, 0600);
	case DIRECTORY:
		return mkdirat(self.aside, path, 0700);
	case FILE_EMPTY:
		fd = openat(self.aside, path, O_WRONLY | O_CREAT | O_EXCL,
		    0600);
		if (fd < 0)
			return -1;
		return close(fd);
	case CUT:
	case NOTHING:
	case KINDS:
		break;
	}
	return 0;
}

/* What a program may have made where the thing stood is not missed. */
static void discard(int dir, const char *name, int depth)
{
	struct dirent *e;
	int fd;
	DIR *d;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT ||
	    unlinkat(dir, name, AT_REMOVEDIR) == 0 || depth == 0)
		return;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			discard(fd, e->d_name, depth - 1);
	closedir(d);
	unlinkat(dir, name, AT_REMOVEDIR);
}

static void pass(unsigned us)
{
	struct timespec ts = { 0, (long)us * 1000 };

	if (us > 0)
		nanosleep(&ts, NULL);
}

static void cut(const struct place *p)
{
	int fd = openat(p->dir, p->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return;
	/* not through another's hard link: that were our own doing */
	if (fstat(fd, &st) == 0 && st.st_nlink == 1 && ftruncate(fd, 0) == 0)
		self.swaps[CUT]++;
	close(fd);
}

static int put(const struct place *p, const char *aside, unsigned flags)
{
	return renameat2(self.aside, aside, p->dir, p->name, flags);
}

/* Away with it for a moment. */
static void take_away(const struct place *p, const char *aside,
    unsigned moment)
{
	if (renameat(p->dir, p->name, self.aside, aside) < 0)
		return;
	self.swaps[NOTHING]++;
	pass(moment);
	/* made anew meanwhile: the old one is the real one */
	if (put(p, aside, RENAME_NOREPLACE) < 0 &&
	    put(p, aside, RENAME_EXCHANGE) == 0)
		discard(self.aside, aside, 2);
}

/* A target that is not there gets the thing for a moment as well. */
static void swap(enum kind kind, const struct place *p)
{
	static const unsigned moments[] = { 0, 0, 0, 1, 20, 100 };
	unsigned moment = moments[pick(6)];
	bool was_there;
	char aside[64];

	snprintf(aside, sizeof(aside), "%d.%lu", (int)getpid(), self.serial++);
	if (kind == NOTHING) {
		take_away(p, aside, moment);
		return;
	}
	if (make(kind, aside) < 0)
		return;
	was_there = put(p, aside, RENAME_EXCHANGE) == 0;
	if (was_there || put(p, aside, RENAME_NOREPLACE) == 0) {
		self.swaps[kind]++;
		pass(moment);
		/* something may have taken away what stood there */
		if (!was_there)
			renameat(p->dir, p->name, self.aside, aside);
		else if (put(p, aside, RENAME_EXCHANGE) < 0)
			put(p, aside, RENAME_NOREPLACE);
	}
	discard(self.aside, aside, 2);
}

static void add(struct list *l, const char *text)
{
	if (l->n == LIST_MAX) {
		fprintf(stderr, "crash-swap: more than %d of a kind\n",
		    LIST_MAX);
		exit(2);
	}
	l->v[l->n++] = text;
}

static void become(uid_t uid)
{
	gid_t gid = (gid_t)uid;

	if (uid == geteuid())
		return;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0) {
		perror("crash-swap: setuid");
		exit(2);
	}
}

static const char *parse(int argc, char **argv, uid_t *uid_r)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "uid", required_argument, NULL, 'u' },
		{ "hold", required_argument, NULL, 'h' },
		{ "target", required_argument, NULL, 't' },
		{ "link", required_argument, NULL, 'l' },
		{ "hard", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	const char *dir = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			dir = optarg;
			break;
		case 'u':
			*uid_r = (uid_t)strtoul(optarg, NULL, 10);
			break;
		case 'h':
			self.hold = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			add(&self.targets, optarg);
			break;
		case 'l':
			add(&self.links, optarg);
			break;
		case 'x':
			add(&self.hards, optarg);
			break;
		default:
			exit(2);
		}
	}
	if (dir == NULL || self.targets.n == 0) {
		fprintf(stderr, "crash-swap: --dir and --target are needed\n");
		exit(2);
	}
	return dir;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_term };
	uid_t uid = geteuid();
	const char *dir = parse(argc, argv, &uid);
	unsigned long total = 0;

	become(uid);
	sigaction(SIGTERM, &act, NULL);
	self.seed ^= (uint64_t)getpid() << 20;
	self.dir = open(dir, O_RDONLY | O_DIRECTORY);
	if (self.dir < 0 || (mkdirat(self.dir, ASIDE, 0700) < 0 &&
		errno != EEXIST)) {
		perror(dir);
		return 2;
	}
	self.aside = open_beneath(ASIDE, O_RDONLY | O_DIRECTORY);
	if (self.aside < 0) {
		perror(ASIDE);
		return 2;
	}
	printf("ready\n");
	fflush(stdout);
	while (!over) {
		enum kind kind = (enum kind)pick(KINDS);
		struct place p;

		/* the others are a change from links only */
		if (pick(3) == 0)
			kind = SYMLINK;
		if (choose(&p) == 0) {
			if (kind != CUT)
				swap(kind, &p);
			else if (pick(8) == 0)
				cut(&p);
			close(p.dir);
		}
		if (self.hold > 0 && pick(4) == 0)
			pass(pick(8 * self.hold));
		else if (self.hold == 0 && pick(500) == 0)
			pass(5000);
	}
	for (int i = 0; i < KINDS; i++)
		total += self.swaps[i];
	printf("%lu swaps (%lu links, %lu hard links, %lu FIFOs)\n", total,
	    self.swaps[SYMLINK], self.swaps[HARDLINK], self.swaps[FIFO]);
	return 0;
}
