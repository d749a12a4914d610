#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/crc32c.h"
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/log.h"
#include "queue/spool.h"

#define ID UINT64_C(0x6925B1F30001)

static int new_file(void)
{
	char path[] = "/tmp/postern-queue-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void poke(int fd, const void *p, off_t at)
{
	assert_int_equal(pwrite(fd, p, 1, at), 1);
}

/* An empty file with a name, in a directory that goes away with the test. */
struct place {
	char dir[64];
	int dirfd, fd;
};

static struct place begin(void)
{
	struct place p = { .dir = "/tmp/postern-queue-XXXXXX" };

	assert_non_null(mkdtemp(p.dir));
	p.dirfd = open(p.dir, O_RDONLY | O_DIRECTORY);
	p.fd = openat(p.dirfd, "f", O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(p.fd >= 0);
	return p;
}

static void end(struct place *p)
{
	close(p->fd);
	unlinkat(p->dirfd, "f", 0);
	close(p->dirfd);
	rmdir(p->dir);
}

static struct queue_recipient two[] = {
	{ .address = { "anna@example.com", 16 },
	  .original = { "postmaster@example.com", 22 },
	  .transport = { "local", 5 }, .notify = QUEUE_NOTIFY_FAILURE },
	{ .address = { "bo@example.org", 14 },
	  .orcpt = { "rfc822;bo@example.org", 21 },
	  .nexthop = { "[192.0.2.1]", 11 } },
};

static struct queue_envelope sample(void)
{
	return (struct queue_envelope){
		.arrival = 1764100000123456, .flags = QUEUE_8BITMIME,
		.sender = STR("sender@example.net"),
		.client_name = STR("mx.example.net"),
		.client_addr = STR("192.0.2.7"), .client_port = 4711,
		.helo = STR("mx"), .protocol = STR("ESMTPS"),
		.login = STR("anna"), .login_method = STR("PLAIN"),
		.envid = STR("QQ314159"), .ret = QUEUE_RET_HDRS,
		.recipients = two, .recipient_count = 2,
	};
}

static char *filler(size_t n)
{
	char *p = malloc(n + 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 31 + (i >> 8) + (i % 77 == 0));
	return p;
}

static void write_file(int fd, struct str content)
{
	struct queue_envelope e = sample();
	struct queue_commit *c;
	const char *why;

	assert_int_equal(queue_commit_begin(&c, fd, ID, 100 << 20), 0);
	assert_int_equal(queue_commit_append(c, content), 0);
	assert_int_equal(queue_commit(c, &e, &why), 0);
	assert_int_equal(e.size, content.n);
	queue_commit_end(&c);
	assert_null(c);
}

static void expect_content(int fd, struct str want)
{
	struct arena *arena = arena_new(1 << 20);
	struct queue_reader r;
	const char *why = "";
	struct buf got;
	char chunk[700];
	ssize_t k;

	buf_init(&got, 100 << 20);
	assert_int_equal(queue_reader_open(&r, fd, ID, arena, &why), 0);
	while ((k = queue_reader_read(&r, chunk, sizeof(chunk))) > 0)
		buf_append_n(&got, chunk, (size_t)k);
	assert_int_equal(k, 0);
	assert_true(str_eq(buf_str(&got), want));
	assert_int_equal(queue_classify(fd, ID, true, &why),
	    QUEUE_KIND_WHOLE);
	buf_fini(&got);
	arena_free(&arena);
}

static void what_is_committed_is_what_is_read(void **state)
{
	static const size_t sizes[] = { 0, 1, 3000, 4096, 65535, 65536, 65537,
		200000, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct place p = begin();
		char *text = filler(sizes[i]);

		write_file(p.fd, str_n(text, sizes[i]));
		expect_content(p.fd, str_n(text, sizes[i]));
		free(text);
		end(&p);
	}
}

static void every_field_of_the_envelope_comes_back(void **state)
{
	struct queue_envelope e = sample(), *g;
	struct arena *arena = arena_new(1 << 20);
	struct place p = begin();
	struct queue_reader r;
	const char *why = "";

	(void)state;
	write_file(p.fd, STR("Subject: x\r\n\r\n"));
	assert_int_equal(queue_reader_open(&r, p.fd, 0, arena, &why), 0);
	g = &r.envelope;
	assert_int_equal(r.header.id, ID);
	assert_int_equal(g->arrival, e.arrival);
	assert_int_equal(g->size, 14);
	assert_int_equal(g->flags, e.flags);
	assert_int_equal(g->client_port, 4711);
	assert_int_equal(g->ret, QUEUE_RET_HDRS);
	assert_true(str_eq(g->sender, e.sender));
	assert_true(str_eq(g->client_name, e.client_name));
	assert_true(str_eq(g->client_addr, e.client_addr));
	assert_true(str_eq(g->helo, e.helo));
	assert_true(str_eq(g->protocol, e.protocol));
	assert_true(str_eq(g->login, e.login));
	assert_true(str_eq(g->login_method, e.login_method));
	assert_true(str_eq(g->envid, e.envid));
	assert_int_equal(g->original_id.n, 0);
	assert_int_equal(g->recipient_count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(str_eq(g->recipients[i].address, two[i].address));
		assert_true(str_eq(g->recipients[i].original,
		    two[i].original));
		assert_true(str_eq(g->recipients[i].orcpt, two[i].orcpt));
		assert_true(str_eq(g->recipients[i].transport,
		    two[i].transport));
		assert_true(str_eq(g->recipients[i].nexthop,
		    two[i].nexthop));
		assert_int_equal(g->recipients[i].notify, two[i].notify);
	}
	arena_free(&arena);
	end(&p);
}

static void what_is_spliced_in_stands_where_it_was_put(void **state)
{
	static const struct {
		size_t size, at, cut;
		const char *in;
	} rows[] = {
		{ 0, 0, 0, "Received: x\r\n" },
		{ 100, 0, 0, "Received: x\r\n" },
		{ 100, 50, 20, "" },
		{ 100, 50, 20, "replaced by something longer than it was" },
		{ 100, 100, 0, "at the end" },
		{ 65530, 0, 0, "this makes it too long for memory" },
		{ 300000, 0, 0, "first" },
		{ 300000, 150000, 5000, "middle" },
		{ 300000, 299999, 1, "" },
		{ 300000, 0, 300000, "all of it" },
		{ 300000, 300000, 0, "end" },
		{ 70000, 69000, 1000, "tail in memory" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct place p = begin();
		char *text = filler(rows[i].size), peek[8];
		struct queue_envelope e = sample();
		struct queue_commit *c;
		const char *why;
		struct buf want;

		buf_init(&want, 1 << 20);
		buf_append_c(&want, "top");
		buf_append_n(&want, text, rows[i].at);
		buf_append_c(&want, rows[i].in);
		buf_append_n(&want, text + rows[i].at + rows[i].cut,
		    rows[i].size - rows[i].at - rows[i].cut);
		buf_append_c(&want, "tail");

		queue_commit_begin(&c, p.fd, ID, 1 << 20);
		assert_int_equal(queue_commit_append(c,
		    str_n(text, rows[i].size)), 0);
		assert_int_equal(queue_commit_splice(c, rows[i].at,
		    rows[i].cut, str_of(rows[i].in)), 0);
		assert_int_equal(queue_commit_append(c, STR("tail")), 0);
		assert_int_equal(queue_commit_splice(c, 0, 0, STR("top")), 0);
		assert_int_equal(queue_commit_size(c), want.n);
		assert_int_equal(queue_commit_pread(c, peek, 5, 1),
		    want.n - 1 < 5 ? want.n - 1 : 5);
		assert_memory_equal(peek, want.p + 1, 5);
		assert_int_equal(queue_commit(c, &e, &why), 0);
		queue_commit_end(&c);
		expect_content(p.fd, buf_str(&want));
		buf_fini(&want);
		free(text);
		end(&p);
	}
}

static void a_commit_over_its_limit_fails_for_good(void **state)
{
	struct queue_envelope e = sample();
	struct place p = begin();
	struct queue_commit *c;
	const char *why;

	(void)state;
	queue_commit_begin(&c, p.fd, ID, 10);
	assert_int_equal(queue_commit_append(c, STR("0123456789")), 0);
	assert_int_equal(queue_commit_append(c, STR("0")), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(queue_commit(c, &e, &why), -1);
	queue_commit_end(&c);
	assert_int_equal(queue_classify(p.fd, ID, true, &why),
	    QUEUE_KIND_TORN);
	end(&p);
}

static int fail_sync(const struct sys_event *ev, void *ctx)
{
	int *count = ctx;

	if (ev->op != SYS_FDATASYNC || ev->after)
		return 0;
	++*count;
	return EIO;
}

static void a_failed_sync_is_not_tried_again(void **state)
{
	struct queue_envelope e = sample();
	struct place p = begin();
	struct queue_commit *c;
	const char *why;
	int count = 0;

	(void)state;
	queue_commit_begin(&c, p.fd, ID, 1000);
	queue_commit_append(c, STR("x"));
	sys_set_hook(fail_sync, &count);
	assert_int_equal(queue_commit(c, &e, &why), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(queue_commit(c, &e, &why), -1);
	sys_set_hook(NULL, NULL);
	assert_int_equal(count, 1);
	queue_commit_end(&c);
	end(&p);
}

/* Small ones are written at once, others as they come. */
static void what_a_failed_sync_refused_is_no_message(void **state)
{
	static const size_t sizes[] = { 1, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct queue_envelope e = sample();
		char *content = filler(sizes[i]);
		struct place p = begin();
		struct queue_commit *c;
		const char *why;
		int count = 0;

		queue_commit_begin(&c, p.fd, ID, 1000000);
		assert_int_equal(queue_commit_append(c,
		    str_n(content, sizes[i])), 0);
		sys_set_hook(fail_sync, &count);
		assert_int_equal(queue_commit(c, &e, &why), -1);
		assert_int_equal(errno, EIO);
		sys_set_hook(NULL, NULL);
		queue_commit_end(&c);
		assert_int_equal(queue_classify(p.fd, ID, true, &why),
		    QUEUE_KIND_TORN);
		free(content);
		end(&p);
	}
}

static void a_file_without_a_name_cannot_be_committed(void **state)
{
	struct queue_envelope e = sample();
	struct queue_commit *c;
	const char *why;
	int fd = new_file();

	(void)state;
	queue_commit_begin(&c, fd, ID, 1000);
	queue_commit_append(c, STR("x"));
	assert_int_equal(queue_commit(c, &e, &why), -1);
	queue_commit_end(&c);
	close(fd);
}

static void an_envelope_that_could_break_a_line_is_refused(void **state)
{
	static const struct str bad[] = {
		{ "a\nb", 3 }, { "a\rb", 3 }, { "a\0b", 3 },
	};
	const char *why;
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < 3; i++) {
		struct queue_recipient r = { .address = bad[i] };
		struct queue_envelope e = { .sender = bad[i] },
		    f = { .recipients = &r, .recipient_count = 1 };

		assert_int_equal(queue_envelope_encode(&e, &out, &why), -1);
		assert_int_equal(queue_envelope_encode(&f, &out, &why), -1);
	}
	buf_fini(&out);
}

static void every_truncation_is_no_message(void **state)
{
	struct place p = begin();
	struct queue_reader r;
	const char *why;

	(void)state;
	write_file(p.fd, STR("Subject: x\r\n\r\nbody\r\n"));
	assert_int_equal(queue_reader_open_header(&r, p.fd, ID, &why), 0);
	for (off_t n = (off_t)r.header.log_offset - 1; n >= 0; n--) {
		assert_int_equal(ftruncate(p.fd, n), 0);
		assert_int_equal(queue_classify(p.fd, ID, true, &why),
		    QUEUE_KIND_TORN);
	}
	end(&p);
}

static void every_flipped_bit_is_found(void **state)
{
	struct place p = begin();
	unsigned char raw[4096];
	struct queue_reader r;
	ssize_t n;
	const char *why;

	(void)state;
	write_file(p.fd, STR("Subject: x\r\n\r\nbody\r\n"));
	assert_int_equal(queue_reader_open_header(&r, p.fd, ID, &why), 0);
	n = pread(p.fd, raw, (size_t)r.header.log_offset, 0);
	assert_int_equal(n, r.header.log_offset);
	for (ssize_t i = 0; i < n; i++)
		for (int bit = 0; bit < 8; bit++) {
			unsigned char c = raw[i] ^ (unsigned char)(1 << bit);
			enum queue_kind kind;

			poke(p.fd, &c, i);
			kind = queue_classify(p.fd, ID, true, &why);
			poke(p.fd, raw + i, i);
			/* One in the id is not taken for a file that was
			 * given again, one in the log's offset not for a
			 * file that ends early: either would unlink it. */
			if (kind != QUEUE_KIND_DAMAGED)
				print_error("bit %d of octet %zd\n", bit, i);
			assert_int_equal(kind, QUEUE_KIND_DAMAGED);
		}
	end(&p);
}

static void a_message_under_another_id_is_refused(void **state)
{
	struct place p = begin();
	const char *why;

	(void)state;
	write_file(p.fd, STR("x"));
	assert_int_equal(queue_classify(p.fd, ID + 1, false, &why),
	    QUEUE_KIND_DAMAGED);
	/* in incoming/: a file that was given again and not yet written */
	assert_int_equal(queue_classify(p.fd, ID + 1, true, &why),
	    QUEUE_KIND_TORN);
	end(&p);
}

static void content_that_changed_ends_in_an_error(void **state)
{
	struct arena *arena = arena_new(1 << 20);
	struct place p = begin();
	struct queue_reader r;
	const char *why;
	char out[64];

	(void)state;
	write_file(p.fd, STR("Subject: x\r\n\r\nbody\r\n"));
	assert_int_equal(queue_reader_open(&r, p.fd, ID, arena, &why), 0);
	poke(p.fd, "X", (off_t)r.header.extents[0].offset);
	assert_int_equal(queue_reader_read(&r, out, sizeof(out)), 20);
	assert_int_equal(queue_reader_read(&r, out, sizeof(out)), -1);
	assert_int_equal(errno, EBADMSG);
	queue_reader_rewind(&r);
	poke(p.fd, "S", (off_t)r.header.extents[0].offset);
	assert_int_equal(queue_reader_verify(&r), 0);
	arena_free(&arena);
	end(&p);
}

static void sums_of_two_pieces_combine(void **state)
{
	static const size_t cuts[] = { 0, 1, 7, 64, 999, 1000 };
	char *p = filler(1000);

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(queue_sum_combine(crc32c(0, p, cuts[i]),
		    crc32c(0, p + cuts[i], 1000 - cuts[i]), 1000 - cuts[i]),
		    crc32c(0, p, 1000));
	free(p);
}

/* 8 TB of nothing, and a word in the middle of it and at its end. */
static void a_hole_costs_its_reader_nothing(void **state)
{
	const uint64_t octets = UINT64_C(1) << 43, middle = octets / 2 + 12345;
	struct queue_header h = { .id = ID, .content_octets = octets,
		.extent_count = 1 };
	unsigned char raw[QUEUE_HEADER_SIZE];
	struct place p = begin();
	struct queue_reader r;
	char envelope[512];
	const char *why;

	(void)state;
	write_file(p.fd, STR("x"));
	assert_int_equal(queue_reader_open_header(&r, p.fd, ID, &why), 0);
	h.envelope_octets = r.header.envelope_octets;
	assert_true(h.envelope_octets <= sizeof(envelope));
	assert_int_equal(sys_pread_full(p.fd, envelope, h.envelope_octets,
	    (off_t)r.header.envelope_offset), h.envelope_octets);
	h.envelope_offset = QUEUE_HEADER_SIZE;
	h.extents[0].offset = h.envelope_offset + h.envelope_octets;
	h.extents[0].octets = octets;
	h.log_offset = h.extents[0].offset + octets;
	h.sum1 = queue_header_sum(&h, str_n(envelope, h.envelope_octets));
	h.sum2 = queue_content_sum_start(ID, h.sum1);
	h.sum2 = crc32c(queue_sum_zeros(h.sum2, middle), "middle", 6);
	h.sum2 = queue_sum_zeros(h.sum2, octets - middle - 6 - 3);
	h.sum2 = crc32c(h.sum2, "end", 3);
	queue_header_encode(&h, raw);
	assert_int_equal(ftruncate(p.fd, 0), 0);
	assert_int_equal(sys_pwrite_all(p.fd, raw, sizeof(raw), 0), 0);
	assert_int_equal(sys_pwrite_all(p.fd, envelope, h.envelope_octets,
	    QUEUE_HEADER_SIZE), 0);
	assert_int_equal(sys_pwrite_all(p.fd, "middle", 6,
	    (off_t)(h.extents[0].offset + middle)), 0);
	assert_int_equal(sys_pwrite_all(p.fd, "end", 3,
	    (off_t)h.log_offset - 3), 0);
	/* To read it takes the better part of an hour. */
	alarm(60);
	assert_int_equal(queue_classify(p.fd, ID, true, &why),
	    QUEUE_KIND_WHOLE);
	poke(p.fd, "M", (off_t)(h.extents[0].offset + middle));
	assert_int_equal(queue_classify(p.fd, ID, true, &why),
	    QUEUE_KIND_DAMAGED);
	poke(p.fd, "m", (off_t)(h.extents[0].offset + middle));
	/* A file that was cut meanwhile has no hole at its end. */
	assert_int_equal(queue_reader_open_header(&r, p.fd, ID, &why), 0);
	assert_int_equal(ftruncate(p.fd, (off_t)(octets / 4 * 3)), 0);
	assert_int_equal(queue_reader_verify(&r), -1);
	assert_int_equal(errno, EBADMSG);
	alarm(0);
	end(&p);
}

static void octets_of_value_0_can_be_counted(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 63, 4096, 99999 };
	char *zeros = calloc(1, 99999);

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(queue_sum_zeros(crc32c(0, "abc", 3),
		    counts[i]), crc32c(crc32c(0, "abc", 3), zeros,
		    counts[i]));
	free(zeros);
}

struct seen {
	int count;
	uint32_t recipients[16];
	char text[64];
};

static int see(const struct queue_log_record *r, void *ctx)
{
	struct seen *s = ctx;

	s->recipients[s->count++] = r->recipient;
	str_to_c(r->text, s->text, sizeof(s->text));
	return 0;
}

static void the_log_survives_a_torn_tail(void **state)
{
	struct queue_log_record rec = { .recipient = 1,
		.what = QUEUE_LOG_DEFERRED, .when = 5, .status = STR("4.4.1"),
		.host = STR("mx.example.org"), .text = STR("no\r\nanswer") };
	struct seen s = { 0 };
	struct place p = begin();
	struct queue_reader r;
	uint64_t end_at, size;
	const char *why;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	write_file(p.fd, STR("x"));
	assert_int_equal(queue_reader_open_header(&r, p.fd, ID, &why), 0);
	assert_int_equal(queue_log_read(p.fd, &r.header, NULL, NULL, &end_at),
	    0);
	assert_int_equal(end_at, r.header.log_offset);
	for (int i = 0; i < 3; i++) {
		buf_reset(&b);
		assert_int_equal(queue_log_encode(ID, &rec, &b), 0);
		assert_int_equal(queue_log_append(p.fd, buf_str(&b), &end_at),
		    0);
	}
	size = end_at;
	assert_int_equal(ftruncate(p.fd, (off_t)end_at - 1), 0);
	assert_int_equal(queue_log_read(p.fd, &r.header, see, &s, &end_at),
	    0);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.text, "no  answer");
	rec.recipient = 7;
	buf_reset(&b);
	queue_log_encode(ID, &rec, &b);
	queue_log_append(p.fd, buf_str(&b), &end_at);
	assert_int_equal(end_at, size);
	s.count = 0;
	assert_int_equal(queue_log_read(p.fd, &r.header, see, &s, &end_at),
	    0);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.recipients[2], 7);
	/* The message is still one. */
	assert_int_equal(queue_classify(p.fd, ID, true, &why),
	    QUEUE_KIND_WHOLE);
	buf_fini(&b);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_committed_is_what_is_read),
		cmocka_unit_test(every_field_of_the_envelope_comes_back),
		cmocka_unit_test(what_is_spliced_in_stands_where_it_was_put),
		cmocka_unit_test(a_commit_over_its_limit_fails_for_good),
		cmocka_unit_test(a_failed_sync_is_not_tried_again),
		cmocka_unit_test(what_a_failed_sync_refused_is_no_message),
		cmocka_unit_test(a_file_without_a_name_cannot_be_committed),
		cmocka_unit_test(
		    an_envelope_that_could_break_a_line_is_refused),
		cmocka_unit_test(every_truncation_is_no_message),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(a_message_under_another_id_is_refused),
		cmocka_unit_test(content_that_changed_ends_in_an_error),
		cmocka_unit_test(sums_of_two_pieces_combine),
		cmocka_unit_test(octets_of_value_0_can_be_counted),
		cmocka_unit_test(a_hole_costs_its_reader_nothing),
		cmocka_unit_test(the_log_survives_a_torn_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
