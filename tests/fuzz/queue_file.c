/*
 * queue_file.c - the queue file, its envelope, its delivery log, `done`
 *
 * A file written by a commit reads back as it was; cut or with one octet
 * changed it is refused, or reads as it was. A file of any octets, with the
 * checksums made right, is refused or read within its bounds.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "fuzz.h"
#include "queue/commit.h"
#include "queue/done.h"
#include "queue/log.h"
#include "queue/read.h"
#include "queue/spool.h"

#define ID UINT64_C(0x6925B1F30001)
#define RECIPIENTS 5

static int spool = -1;

/* Strings of the envelope, a line each. */
static void make_envelope(struct fuzz_in *in, struct queue_envelope *e,
    struct queue_recipient r[RECIPIENTS])
{
	struct str *const strings[] = { &e->sender, &e->client_name,
		&e->client_addr, &e->helo, &e->protocol, &e->login,
		&e->login_method, &e->envid, &e->original_id };

	*e = (struct queue_envelope){ .arrival = 1764100000000000,
		.recipients = r };
	e->flags = (unsigned)fuzz_number(in, 4095);
	e->client_port = (unsigned)fuzz_number(in, 65535);
	e->ret = (enum queue_ret)fuzz_number(in, 2);
	e->recipient_count = 1 + fuzz_number(in, RECIPIENTS - 1);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		*strings[i] = fuzz_field(in, '\n');
	for (size_t i = 0; i < e->recipient_count; i++) {
		r[i] = (struct queue_recipient){ .notify =
		    (unsigned)fuzz_number(in, 15) };
		r[i].address = fuzz_field(in, '\n');
		r[i].original = fuzz_field(in, '\n');
		r[i].orcpt = fuzz_field(in, '\n');
		r[i].transport = fuzz_field(in, '\n');
		r[i].nexthop = fuzz_field(in, '\n');
	}
}

static void same_envelope(const struct queue_envelope *a,
    const struct queue_envelope *b)
{
	struct buf one, two;
	const char *why;

	buf_init(&one, QUEUE_ENVELOPE_MAX);
	buf_init(&two, QUEUE_ENVELOPE_MAX);
	fuzz_check(queue_envelope_encode(a, &one, &why) == 0 &&
	    queue_envelope_encode(b, &two, &why) == 0, "%s", why);
	fuzz_check_same("envelope", buf_str(&one), buf_str(&two));
	buf_fini(&one);
	buf_fini(&two);
}

/* Content as a reader gives it; -1 when it is refused. */
static int read_all(struct queue_reader *r, struct buf *out)
{
	char piece[777];
	ssize_t k;

	while ((k = queue_reader_read(r, piece, sizeof(piece))) > 0)
		buf_append_n(out, piece, (size_t)k);
	return (int)k;
}

static struct str file_octets(int fd, struct buf *b)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *p = buf_reserve(b, (size_t)size);

	fuzz_check(pread(fd, p, (size_t)size, 0) == size, "pread");
	buf_added(b, (size_t)size);
	return buf_str(b);
}

static int add_record(const struct queue_log_record *r, void *ctx)
{
	struct buf *b = ctx;

	fuzz_check(!str_has_nul(r->text) && !str_has_nul(r->diagnostic) &&
	    r->what > 0 && r->what < QUEUE_LOG_WHAT_END, "a bad record");
	buf_printf(b, "%u %d %lld ", r->recipient, (int)r->what,
	    (long long)r->when);
	buf_append(b, r->status);
	buf_append_char(b, ' ');
	buf_append(b, r->host);
	buf_append_char(b, ' ');
	buf_append(b, r->text);
	buf_append_char(b, ' ');
	buf_append(b, r->diagnostic);
	buf_append_char(b, '\n');
	return 0;
}

/* The log at the end: what was appended is read, then nothing. */
static void check_log(int fd, const struct queue_header *h,
    struct fuzz_in in, struct buf *log)
{
	uint64_t end = 0, before;

	fuzz_check(queue_log_read(fd, h, NULL, NULL, &end) == 0 &&
	    end == h->log_offset, "a log in a new file");
	for (int i = 0; i < 4 && in.rest.n > 0; i++) {
		struct queue_log_record r = {
			.recipient = (uint32_t)fuzz_number(&in, 5),
			.what = QUEUE_LOG_SENT + (enum queue_log_what)
			    fuzz_number(&in, QUEUE_LOG_WHAT_END - 2),
			.when = (int64_t)fuzz_number(&in, 1000),
			.status = STR("4.4.1"),
			.host = fuzz_field(&in, '\n'),
			.text = fuzz_field(&in, '\n'),
			.diagnostic = fuzz_field(&in, '\n'),
		};
		struct buf encoded, all;

		buf_init(&encoded, QUEUE_LOG_MAX);
		buf_init(&all, SIZE_MAX);
		if (queue_log_encode(h->id, &r, &encoded) == 0)
			fuzz_check(queue_log_append(fd, buf_str(&encoded),
			    &end) == 0, "append");
		before = end;
		fuzz_check(queue_log_read(fd, h, add_record, &all, &end) ==
		    0 && end == before, "the log's end");
		/* What was there stays. */
		fuzz_check(str_starts(buf_str(&all), buf_str(log)),
		    "an older record changed");
		buf_reset(log);
		buf_append(log, buf_str(&all));
		buf_fini(&encoded);
		buf_fini(&all);
	}
}

/* One octet changed, or the end missing. */
static void check_damage(struct str file, const struct queue_header *good,
    const struct queue_envelope *e, struct str content, struct str log,
    struct fuzz_in *in)
{
	size_t at = fuzz_number(in, file.n * 2 - 1);
	char *copy = malloc(file.n);
	struct arena *arena = arena_new(1 << 20);
	struct queue_reader r;
	struct buf got;
	const char *why = NULL;
	size_t n = file.n;
	uint64_t end;
	int fd;

	memcpy(copy, file.p, n);
	if (at >= n)
		n = at - n;
	else
		copy[at] = (char)(copy[at] ^ (1 + fuzz_number(in, 254)));
	fd = fuzz_file(str_n(copy, n));
	buf_init(&got, SIZE_MAX);
	if (queue_reader_open(&r, fd, ID, arena, &why) == 0) {
		fuzz_check(n >= good->log_offset, "a torn file was opened");
		if (read_all(&r, &got) == 0) {
			fuzz_check_same("content of a damaged file", content,
			    buf_str(&got));
			same_envelope(e, &r.envelope);
		}
		buf_reset(&got);
		fuzz_check(queue_log_read(fd, &r.header, add_record, &got,
		    &end) == 0, "log");
		/* Records up to the damage; none that nobody wrote. */
		fuzz_check(str_starts(log, buf_str(&got)),
		    "a record that was not written");
	} else {
		fuzz_check(why != NULL, "no reason");
	}
	/* (A failure to read is EBADMSG, and classify says why.) */
	(void)queue_classify(fd, ID, true, &why);
	close(fd);
	buf_fini(&got);
	arena_free(&arena);
	free(copy);
}

static void check_commit(struct fuzz_in in)
{
	struct queue_recipient r[RECIPIENTS];
	struct queue_envelope e;
	struct queue_commit *c;
	struct queue_reader reader;
	struct arena *arena = arena_new(1 << 20);
	struct str content;
	struct buf got, log, whole;
	const char *why = NULL;
	int fd = fuzz_new_file("message");
	unsigned repeat = fuzz_octet(&in) % 64 == 0 ? 2000 : 1;
	struct fuzz_in damage;
	int rc;

	buf_init(&got, SIZE_MAX);
	buf_init(&log, SIZE_MAX);
	buf_init(&whole, SIZE_MAX);
	make_envelope(&in, &e, r);
	damage = in;
	content = fuzz_rest(&in);
	for (unsigned i = 0; i < repeat && whole.n < 100000; i++)
		buf_append(&whole, content);
	fuzz_check(queue_commit_begin(&c, fd, ID, 1 << 20) == 0, "begin");
	fuzz_check(queue_commit_append(c, buf_str(&whole)) == 0, "append");
	rc = queue_commit(c, &e, &why);
	queue_commit_end(&c);
	if (rc == 0) {
		struct str file;

		fuzz_check(queue_reader_open(&reader, fd, ID, arena, &why) ==
		    0, "its own file: %s", why);
		same_envelope(&e, &reader.envelope);
		fuzz_check(read_all(&reader, &got) == 0, "its own content");
		fuzz_check_same("content", buf_str(&whole), buf_str(&got));
		fuzz_check(queue_classify(fd, ID, true, &why) ==
		    QUEUE_KIND_WHOLE, "its kind");
		check_log(fd, &reader.header, damage, &log);
		buf_reset(&got);
		file = file_octets(fd, &got);
		for (int i = 0; i < 4; i++)
			check_damage(file, &reader.header, &e,
			    buf_str(&whole), buf_str(&log), &damage);
	} else {
		fuzz_check(strstr(why, "envelope") != NULL, "%s", why);
	}
	close(fd);
	buf_fini(&got);
	buf_fini(&log);
	buf_fini(&whole);
	arena_free(&arena);
}

/* Any octets; mend: with checksums that are right. */
static void check_raw(struct str s, bool mend)
{
	struct arena *arena = arena_new(20 << 20);
	struct queue_reader r;
	struct queue_header h;
	struct buf file, got;
	const char *why = NULL;
	uint64_t end;
	int fd;

	buf_init(&file, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	buf_append(&file, s);
	while (file.n < QUEUE_HEADER_SIZE)
		buf_append_char(&file, '\0');
	if (mend && queue_header_decode((unsigned char *)file.p, &h, &why) ==
	    0 && h.envelope_offset + h.envelope_octets <= file.n) {
		uint32_t crc;

		h.sum1 = queue_header_sum(&h, str_sub(buf_str(&file),
		    h.envelope_offset, h.envelope_octets));
		crc = queue_content_sum_start(h.id, h.sum1);
		for (unsigned i = 0; i < h.extent_count; i++) {
			struct str piece = str_sub(buf_str(&file),
			    h.extents[i].offset, h.extents[i].octets);

			crc = crc32c(crc, piece.p, piece.n);
		}
		h.sum2 = crc;
		queue_header_encode(&h, (unsigned char *)file.p);
	}
	fd = fuzz_file(buf_str(&file));
	fuzz_budget_start();
	if (queue_reader_open(&r, fd, 0, arena, &why) == 0) {
		fuzz_check(r.header.log_offset <= file.n, "its log");
		(void)read_all(&r, &got);
		fuzz_check(got.n <= r.header.content_octets, "too much");
		(void)queue_log_read(fd, &r.header, add_record, &got, &end);
	} else {
		fuzz_check(why != NULL, "no reason");
	}
	fuzz_check_heap(40 * file.n + 200000);
	(void)queue_classify(fd, ID, true, &why);
	close(fd);
	arena_free(&arena);
	buf_fini(&file);
	buf_fini(&got);
}

static void check_envelope(struct str s)
{
	struct arena *arena = arena_new(20 << 20);
	struct queue_envelope e;
	const char *why = NULL;
	struct buf again;

	buf_init(&again, QUEUE_ENVELOPE_MAX);
	fuzz_budget_start();
	if (queue_envelope_decode(s, arena, &e, &why) == 0) {
		fuzz_check(queue_envelope_encode(&e, &again, &why) == 0,
		    "%s", why);
		fuzz_check_same("an envelope has one form", s,
		    buf_str(&again));
	} else {
		fuzz_check(why != NULL, "no reason");
	}
	fuzz_check_heap(200 * s.n + 100000);
	buf_fini(&again);
	arena_free(&arena);
}

/* --- done --- */

static void add_done(uint64_t id, uint32_t recipient,
    enum queue_log_what what, int64_t when, void *ctx)
{
	buf_printf(ctx, "%llx %u %d %lld\n", (unsigned long long)id,
	    recipient, (int)what, (long long)when);
}

static int settled(void *ctx)
{
	(void)ctx;
	return 0;
}

/* Records that were synced are there, in order, after any damage behind
 * them; what damage leaves was once written. */
static void check_done(struct fuzz_in in)
{
	struct queue_done *d;
	struct buf written, got, file;
	/* Small ones have to grow. */
	size_t area = 256 + fuzz_number(&in, 15) * 256, at;
	int fd;

	buf_init(&written, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	buf_init(&file, SIZE_MAX);
	unlinkat(spool, "done", 0);
	d = queue_done_open(spool, area);
	fuzz_check(d != NULL, "open");
	for (int i = 0; i < 60 && in.rest.n > 16; i++) {
		uint64_t id = 1 + fuzz_number(&in, 15);
		uint32_t recipient = fuzz_octet(&in);

		if (fuzz_octet(&in) % 4 == 0) {
			queue_done_forget(d, id);
			continue;
		}
		fuzz_check(queue_done_add(d, id, recipient, QUEUE_LOG_SENT,
		    i) == 0, "add");
		add_done(id, recipient, QUEUE_LOG_SENT, i, &written);
		if (fuzz_octet(&in) % 2 == 0)
			fuzz_check(queue_done_sync(d, settled, NULL) == 0,
			    "sync");
	}
	fuzz_check(queue_done_sync(d, settled, NULL) == 0, "sync");
	queue_done_close(&d);
	fd = openat(spool, "done", O_RDONLY);
	(void)file_octets(fd, &file);
	close(fd);
	at = fuzz_number(&in, file.n - 1);
	if (fuzz_bool(&in))
		file.p[at] = (char)(file.p[at] ^ (1 + fuzz_octet(&in) % 255));
	fuzz_put_file("done", buf_str(&file));
	if ((d = queue_done_open(spool, area)) != NULL) {
		struct str rest, line;

		(void)queue_done_read(d, add_done, &got);
		rest = buf_str(&got);
		while (rest.n > 0 && str_split(&rest, '\n', &line))
			fuzz_check(line.n == 0 || str_find(buf_str(&written),
			    line) >= 0, "a result that nobody recorded");
		queue_done_close(&d);
	}
	buf_fini(&written);
	buf_fini(&got);
	buf_fini(&file);
}

static void check_done_raw(struct str s)
{
	struct queue_done *d;
	struct buf file, got;

	buf_init(&file, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	buf_append(&file, s);
	while (file.n % 64 != 0 || file.n < 128)
		buf_append_char(&file, '\0');
	/* Right sums, so that more than the first record is looked at. */
	for (size_t at = 0; at < file.n; at += 32) {
		uint32_t sum = crc32c(0, file.p + at + 4, 28);

		for (int k = 0; k < 4; k++)
			file.p[at + (size_t)k] = (char)(sum >> 8 * k);
	}
	fuzz_put_file("done", buf_str(&file));
	if ((d = queue_done_open(spool, 1024)) != NULL) {
		(void)queue_done_read(d, add_done, &got);
		(void)queue_done_add(d, 7, 0, QUEUE_LOG_SENT, 1);
		(void)queue_done_sync(d, settled, NULL);
		queue_done_close(&d);
	}
	buf_fini(&file);
	buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned what = fuzz_octet(&in) % 8;
	struct str s = fuzz_exact(in.rest);

	if (what < 3)
		check_commit((struct fuzz_in){ s });
	else if (what < 5)
		check_raw(s, what == 3);
	else if (what == 5)
		check_envelope(s);
	else if (what == 6)
		check_done((struct fuzz_in){ s });
	else
		check_done_raw(s);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	spool = fuzz_directory(NULL);
	return 0;
}
