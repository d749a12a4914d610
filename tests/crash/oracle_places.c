/*
 * oracle_places.c - the places where a message can be
 *
 * Nothing is changed there: a torn file of incoming/, which the next start
 * unlinks, is passed over; what no start and no cleaning ever takes away is
 * residue.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "msgs/pickup.h"
#include "queue/done.h"
#include "queue/spool.h"
#include "tests/crash/oracle.h"

#define FILE_MAX ((off_t)1 << 30)
#define DONE_AREA (5u << 20)
#define PATH_SIZE 4096

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* dir/name, which must fit. */
static const char *join(char out[PATH_SIZE], const char *dir,
    const char *name)
{
	if (snprintf(out, PATH_SIZE, "%s/%s", dir, name) >= PATH_SIZE)
		oracle_stop("%s: a path that is too long", dir);
	return out;
}

/* The octets of a regular file, in memory that the caller frees. */
static struct str read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	struct stat st;
	char *p = NULL;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > FILE_MAX ||
	    (p = malloc((size_t)st.st_size + 1)) == NULL ||
	    sys_pread_full(fd, p, (size_t)st.st_size, 0) != st.st_size)
		oracle_stop("%s: %s", path, strerror(errno));
	close(fd);
	return str_n(p, (size_t)st.st_size);
}

static void release(struct str s)
{
	free((char *)(uintptr_t)s.p);
}

/* --- the queue -------------------------------------------------------- */

struct result {
	uint64_t id;
	uint32_t recipient;
	enum queue_log_what what;
};

struct queue {
	struct oracle *oracle;
	const char *path;
	struct queue_spool spool;
	struct result *results;	/* of `done` */
	size_t result_count;
	ino_t *doubles;		/* files with two names, seen at one */
	size_t double_count;
};

static void add_result(uint64_t id, uint32_t recipient,
    enum queue_log_what what, int64_t when, void *ctx)
{
	struct queue *q = ctx;

	(void)when;
	q->results = oracle_grow(q->results, q->result_count,
	    sizeof(*q->results));
	q->results[q->result_count++] = (struct result){ id, recipient,
		what };
}

static int compare_results(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return x->id != y->id ? (x->id < y->id ? -1 : 1) : 0;
}

/* Is nothing more owed to the recipient? FAILED alone owes a notice. */
static bool is_final(enum queue_log_what what)
{
	return what == QUEUE_LOG_SENT || what == QUEUE_LOG_RELAYED ||
	    what == QUEUE_LOG_EXPANDED || what == QUEUE_LOG_NOTIFIED;
}

struct states {
	bool *over;
	size_t count;
};

static int take_log(const struct queue_log_record *r, void *ctx)
{
	struct states *s = ctx;

	if (r->recipient < s->count)
		s->over[r->recipient] = is_final(r->what);
	return 0;
}

/* Results of `done` stand, whatever the file says. */
static void take_done(const struct queue *q, uint64_t id, struct states *s)
{
	struct result key = { .id = id };
	const struct result *at = q->result_count == 0 ? NULL
	    : bsearch(&key, q->results, q->result_count,
	    sizeof(*q->results), compare_results);

	if (at == NULL)
		return;
	while (at > q->results && at[-1].id == id)
		at--;
	for (; at < q->results + q->result_count && at->id == id; at++)
		if (at->recipient < s->count && is_final(at->what))
			s->over[at->recipient] = true;
}

static const char *place_path(char out[PATH_SIZE], const struct queue *q,
    const struct queue_name *name, const char *file)
{
	char due[32] = "";

	if (name->place == QUEUE_DEFERRED)
		snprintf(due, sizeof(due), "%lld/", (long long)name->due);
	if (snprintf(out, PATH_SIZE, "%s/%s/%s%s", q->path,
	    queue_place_name(name->place), due, file) >= PATH_SIZE)
		oracle_stop("%s: a path that is too long", q->path);
	return out;
}

/* Both names of each recipient to whom something is owed. */
static struct str *pending(const struct queue_envelope *e,
    const struct states *s, size_t *count_r)
{
	struct str *list = calloc(e->recipient_count + 1, sizeof(*list));
	size_t n = 0;

	if (list == NULL)
		oracle_stop("out of memory");
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct queue_recipient *r = &e->recipients[i];

		if (!s->over[i])
			list[n++] = r->original.n > 0 ? r->original
			    : r->address;
	}
	*count_r = n;
	return list;
}

static void judge_pending(struct queue *q, struct queue_reader *r,
    const char *path)
{
	const struct queue_envelope *e = &r->envelope;
	struct states s = { calloc(e->recipient_count + 1, sizeof(bool)),
		e->recipient_count };
	char *text = malloc(r->header.content_octets + 1);
	struct found_in in = { .path = path };
	uint64_t end;

	if (s.over == NULL || text == NULL)
		oracle_stop("out of memory");
	if (queue_log_read(r->fd, &r->header, take_log, &s, &end) < 0 ||
	    queue_reader_pread(r, text, r->header.content_octets, 0) !=
	    (ssize_t)r->header.content_octets)
		oracle_stop("%s: %s", path, strerror(errno));
	take_done(q, r->header.id, &s);
	in.rcpts = pending(e, &s, &in.count);
	if (in.count > 0)
		content_judge(q->oracle, str_n(text,
		    r->header.content_octets), &in);
	free((void *)(uintptr_t)in.rcpts);
	free(text);
	free(s.over);
}

/* As queue_recover_file() would, but nothing is moved or unlinked. */
static void judge_queue_file(struct queue *q, const struct queue_name *name,
    int fd, const char *path)
{
	struct arena *arena = arena_new(4 * (size_t)QUEUE_ENVELOPE_MAX);
	struct oracle *o = q->oracle;
	struct queue_reader r;
	const char *why = "?";

	if (arena == NULL)
		oracle_stop("out of memory");
	switch (queue_classify(fd, name->id, true, &why)) {
	case QUEUE_KIND_WHOLE:
		if (queue_reader_open(&r, fd, name->id, arena, &why) < 0)
			oracle_say(&o->damaged, "DAMAGED", "%s: %s", path,
			    why);
		else
			judge_pending(q, &r, path);
		break;
	case QUEUE_KIND_TORN:
		if (name->place == QUEUE_HOLD || name->place == QUEUE_CORRUPT)
			oracle_say(&o->residue, "RESIDUE", "%s: torn", path);
		break;
	case QUEUE_KIND_DAMAGED:
		/* Promised to nobody, or it is missed. */
		if (o->verbose)
			printf("note: %s: damaged: %s\n", path, why);
		break;
	default:
		oracle_stop("%s: cannot be read", path);
	}
	arena_free(&arena);
}

/*
 * A message that has two names since a power cut: queue_spool_settle() would
 * take one away. Open at the one, true at the other, else neither.
 */
static bool open_double(struct queue *q, const struct queue_name *name,
    const char *path, int *fd_r)
{
	struct stat st;

	if (queue_spool_stat(&q->spool, name, &st) < 0 ||
	    !S_ISREG(st.st_mode) || st.st_nlink != 2)
		return false;
	for (size_t i = 0; i < q->double_count; i++)
		if (q->doubles[i] == st.st_ino)
			return true;
	q->doubles = oracle_grow(q->doubles, q->double_count,
	    sizeof(*q->doubles));
	q->doubles[q->double_count++] = st.st_ino;
	*fd_r = open(path, O_RDONLY | O_NOFOLLOW);
	return false;
}

static int see_queue_file(const struct queue_name *name, const char *file,
    void *ctx)
{
	struct queue *q = ctx;
	char path[PATH_SIZE];
	int fd = -1;

	place_path(path, q, name, file);
	if (name->id != 0 &&
	    (fd = queue_spool_open_file(&q->spool, name, false)) < 0 &&
	    open_double(q, name, path, &fd))
		return 0;
	if (fd < 0) {
		oracle_say(&q->oracle->residue, "RESIDUE", "%s: %s", path,
		    name->id == 0 ? "its name is no queue id"
		    : "it is no queue file");
		return 0;
	}
	judge_queue_file(q, name, fd, path);
	close(fd);
	return 0;
}

/* What queue_spool_scan() passes over. */
static void see_hidden_names(struct oracle *o, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] == '.' && !is_dots(e->d_name))
			oracle_say(&o->residue, "RESIDUE", "%s/%s: nobody "
			    "looks at such a name", dir, e->d_name);
	if (d != NULL)
		closedir(d);
}

/* --- messages that sendmail left -------------------------------------- */

/* The next packet of a file in maildrop/. False: there is none. */
static bool take_packet(struct str *rest, struct str *packet_r)
{
	size_t n = 0;

	for (size_t i = 4; i-- > 0 && rest->n >= 4;)
		n = n << 8 | (unsigned char)rest->p[i];
	if (rest->n < 4 || n > rest->n - 4)
		return false;
	*packet_r = str_sub(*rest, 4, n);
	*rest = str_from(*rest, 4 + n);
	return true;
}

static void judge_dropped(struct oracle *o, struct str file,
    const char *path)
{
	struct arena *arena = arena_new(64u << 20);
	struct found_in in = { .path = path };
	struct pickup_submit submit;
	struct pickup_data data = { 0 };
	struct str packet;
	const char *why;
	struct buf text;

	buf_init(&text, (size_t)FILE_MAX);
	if (arena != NULL && take_packet(&file, &packet) &&
	    msg_decode(&pickup_submit_schema, packet, NULL, 0, arena,
	    &submit, &why) == 0)
		while (!data.last && take_packet(&file, &packet) &&
		    msg_decode(&pickup_data_schema, packet, NULL, 0, arena,
		    &data, &why) == 0)
			buf_append(&text, data.content);
	if (data.last) {
		in.rcpts = submit.rcpts.v;
		in.count = submit.rcpts.n;
		content_judge(o, buf_str(&text), &in);
	} else if (o->verbose) {
		printf("note: %s: no message\n", path);
	}
	buf_fini(&text);
	arena_free(&arena);
}

static void see_maildrop(struct oracle *o, const char *spool)
{
	char dir[PATH_SIZE], path[PATH_SIZE];
	DIR *d = opendir(join(dir, spool, "maildrop"));
	struct dirent *e;
	struct stat st;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (is_dots(e->d_name) || lstat(join(path, dir, e->d_name),
		    &st) < 0)
			continue;
		if (e->d_name[0] == '.' || !S_ISREG(st.st_mode)) {
			oracle_say(&o->residue, "RESIDUE", "%s: put aside",
			    path);
		} else if (st.st_mode & S_IXUSR) { /* whole */
			struct str file = read_file(path);

			judge_dropped(o, file, path);
			release(file);
		}
	}
	if (d != NULL)
		closedir(d);
}

void places_queue(struct oracle *o, const char *spool)
{
	struct queue q = { .oracle = o, .path = spool };
	int dir = open(spool, O_RDONLY | O_DIRECTORY);
	struct queue_done *done;
	const char *why;
	char path[PATH_SIZE];

	if (dir < 0)
		oracle_stop("%s: %s", spool, strerror(errno));
	see_maildrop(o, spool);
	if (queue_spool_open(&q.spool, dir, false, false, &why) < 0) {
		/* Cut down before the first start had made it: no mail. */
		printf("note: %s: %s\n", spool, why);
		close(dir);
		return;
	}
	if (faccessat(dir, "done", F_OK, 0) == 0) {
		done = queue_done_open(dir, DONE_AREA);
		if (done == NULL || queue_done_read(done, add_result, &q) < 0)
			oracle_stop("%s/done: %s", spool, strerror(errno));
		queue_done_close(&done);
	}
	if (q.result_count > 0)
		qsort(q.results, q.result_count, sizeof(*q.results),
		    compare_results);
	for (int i = 0; i < QUEUE_PLACE_COUNT; i++) {
		see_hidden_names(o, join(path, spool, queue_place_name(i)));
		if (queue_spool_scan(&q.spool, (enum queue_place)i, INT64_MAX,
		    see_queue_file, &q) < 0)
			oracle_stop("%s: cannot be read", path);
	}
	free(q.results);
	free(q.doubles);
	queue_spool_close(&q.spool);
	close(dir);
}

/* --- mailboxes -------------------------------------------------------- */

struct mailbox {
	struct oracle *oracle;
	char domain[256], address[600];
	int depth;		/* 0: root, 1: a domain, 2: a user, ... */
};

/* ,S= in a name is the file's size; a reader believes it. */
static void check_size(struct oracle *o, const char *path, const char *name,
    size_t size)
{
	const char *at = strstr(name, ",S=");
	unsigned long long said;

	if (at != NULL && sscanf(at, ",S=%llu", &said) == 1 && said != size)
		oracle_say(&o->damaged, "DAMAGED", "%s: has %zu octets", path,
		    size);
}

/* Half a rename from new/ to cur/: the store shows one message. */
static bool is_in_new_too(const char *dir, const char *name,
    const char *path)
{
	char other[PATH_SIZE];
	struct stat a, b;

	if (snprintf(other, PATH_SIZE, "%s/../new/%.*s", dir,
	    (int)strcspn(name, ":"), name) >= PATH_SIZE)
		oracle_stop("%s: a path that is too long", dir);
	return str_ends(str_of(dir), STR("/cur")) &&
	    lstat(path, &a) == 0 && a.st_nlink > 1 &&
	    lstat(other, &b) == 0 && a.st_ino == b.st_ino;
}

static void see_messages(const struct mailbox *m, const char *dir)
{
	struct str rcpt = str_of(m->address);
	char path[PATH_SIZE];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		struct found_in in = { path, &rcpt, 1, false };
		struct str file;

		if (e->d_name[0] == '.')
			continue;
		join(path, dir, e->d_name);
		if (is_in_new_too(dir, e->d_name, path))
			continue;
		file = read_file(path);
		check_size(m->oracle, path, e->d_name, file.n);
		content_judge(m->oracle, file, &in);
		release(file);
	}
	if (d != NULL)
		closedir(d);
}

/* What a process leaves in tmp/ when it is killed goes after 36 hours; one
 * that lives leaves nothing. */
static void see_tmp(const struct mailbox *m, const char *dir)
{
	struct oracle *o = m->oracle;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && !o->died && (e = readdir(d)) != NULL)
		if (!is_dots(e->d_name))
			oracle_say(&o->residue, "RESIDUE", "%s/%s: and no "
			    "process was killed", dir, e->d_name);
	if (d != NULL)
		closedir(d);
}

/*
 * Up to the next line that begins with "From "; taken off rest. Where a crash
 * cut the next message in that very word, what is left of it is not this
 * one's.
 */
static struct str take_of_mbox(struct str *rest)
{
	static const struct str from = STR("From ");
	ssize_t next = str_starts(*rest, from) ? 0
	    : str_find(*rest, STR("\nFrom "));
	struct str one = str_sub(*rest, 0, next < 0 ? rest->n
	    : str_starts(*rest, from) ? 0 : (size_t)next + 1);

	*rest = str_from(*rest, one.n);
	/* the empty line that ends each */
	if (str_ends(one, STR("\n\n")))
		one.n--;
	for (size_t n = 1; n < from.n; n++) {
		char cut[8];

		snprintf(cut, sizeof(cut), "\n\n%.*s\n", (int)n, from.p);
		if (str_ends(one, str_of(cut)))
			one.n -= n + 2;
	}
	return one;
}

/* RFC 4155: each message behind a line that begins with "From ". */
static void see_mbox(const struct mailbox *m, const char *path)
{
	struct str file = read_file(path), rest = file;
	struct str rcpt = str_of(m->address);
	struct found_in in = { path, &rcpt, 1, true };

	/* Of a message that a power cut stopped the length may be there and
	 * nothing else; local/deliver_mbox.c takes it away again. */
	while (rest.n > 0 && rest.p[rest.n - 1] == '\0')
		rest.n--;
	while (str_starts(rest, STR("From "))) {
		ssize_t at = str_chr(rest, '\n');

		rest = str_from(rest, at < 0 ? rest.n : (size_t)at + 1);
		content_judge(m->oracle, take_of_mbox(&rest), &in);
	}
	release(file);
}

static bool has_dir(const char *dir, const char *name)
{
	char path[PATH_SIZE];
	struct stat st;

	return lstat(join(path, dir, name), &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_mbox(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	char first[5];
	ssize_t n = fd < 0 ? -1 : sys_pread_full(fd, first, 5, 0);

	if (fd >= 0)
		close(fd);
	return n == 5 && memcmp(first, "From ", 5) == 0;
}

/* The mailbox that `name` in m is, or is in. */
static void enter(struct mailbox *in, const struct mailbox *m,
    const char *name)
{
	*in = *m;
	in->depth++;
	if (in->depth == 1)
		snprintf(in->domain, sizeof(in->domain), "%s", name);
	else if (in->depth == 2)
		snprintf(in->address, sizeof(in->address), "%s@%s", name,
		    in->domain);
}

static void see_tree(const struct mailbox *m, const char *dir)
{
	bool is_maildir = has_dir(dir, "cur");
	char path[PATH_SIZE];
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;

	if (d == NULL)
		oracle_stop("%s: %s", dir, strerror(errno));
	while ((e = readdir(d)) != NULL) {
		struct mailbox in;

		if (is_dots(e->d_name) ||
		    lstat(join(path, dir, e->d_name), &st) < 0)
			continue;
		enter(&in, m, e->d_name);
		if (!S_ISDIR(st.st_mode)) {
			if (S_ISREG(st.st_mode) && is_mbox(path))
				see_mbox(&in, path);
		} else if (is_maildir && strcmp(e->d_name, "tmp") == 0) {
			see_tmp(m, path);
		} else if (is_maildir && (strcmp(e->d_name, "new") == 0 ||
		    strcmp(e->d_name, "cur") == 0)) {
			see_messages(m, path);
		} else {
			see_tree(&in, path);
		}
	}
	closedir(d);
}

void places_mail(struct oracle *o, const char *root)
{
	struct mailbox m = { .oracle = o };

	see_tree(&m, root);
}

/* --- what a relay's next hop took ------------------------------------- */

static struct str *split_rcpts(struct str line, size_t *count_r)
{
	struct str *list = NULL, one;

	*count_r = 0;
	while (str_split(&line, ',', &one)) {
		list = oracle_grow(list, *count_r, sizeof(*list));
		list[(*count_r)++] = str_trim(one);
	}
	return list;
}

void places_sink(struct oracle *o, const char *dir)
{
	char path[PATH_SIZE];
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL)
		oracle_stop("%s: %s", dir, strerror(errno));
	while ((e = readdir(d)) != NULL) {
		struct found_in in = { .path = path };
		struct str file;
		struct str *rcpts;
		ssize_t at;

		/* hidden: not whole yet */
		if (e->d_name[0] == '.')
			continue;
		file = read_file(join(path, dir, e->d_name));
		at = str_chr(file, '\n');
		rcpts = split_rcpts(str_sub(file, 0, at < 0 ? file.n
		    : (size_t)at), &in.count);
		in.rcpts = rcpts;
		content_judge(o, str_from(file, at < 0 ? file.n
		    : (size_t)at + 1), &in);
		free(rcpts);
		release(file);
	}
	closedir(d);
}
