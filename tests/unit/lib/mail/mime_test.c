#include "mail_test.h"
#include "mail/mime.h"

static struct arena *arena;

/* type/subtype:body|... in order, with the depth as dots before. */
static void show(const struct mime *m, struct buf *b)
{
	buf_reset(b);
	for (uint32_t i = 0; i < m->count; i++) {
		const struct mime_part *p = &m->parts[i];
		struct str body = mime_body(m, p);

		for (int k = 0; k < p->depth; k++)
			buf_append_char(b, '.');
		buf_printf(b, STR_FMT "/" STR_FMT, STR_ARG(p->type),
		    STR_ARG(p->subtype));
		if (!p->multipart && !p->message)
			buf_printf(b, "=" STR_FMT, STR_ARG(body));
		buf_append_char(b, '|');
	}
}

static void structures_are_found(void **state)
{
	static const struct {
		const char *message, *shape;
	} rows[] = {
		{ "", "text/plain=|" },
		{ "A: b", "text/plain=|" },
		{ "\n", "text/plain=|" },
		{ "A: b\n\nhello\n", "text/plain=hello\n|" },
		{ "no header\nhello\n", "text/plain=no header\nhello\n|" },
		{ "Content-Type: text/html\n\nx", "text/html=x|" },
		{ "Content-Type: text\n\nx", "text/plain=x|" },
		{ "Content-Type: multipart/mixed\n\nx", "text/plain=x|" },
		/* SMTP-179 */
		{ "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\n--\n",
		    "text/plain=--\n\n--\n|" },
		/* RFC 2046 5.1.1, both forms of lines */
		{ "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
		  "preamble\r\n--b\r\n\r\nfirst\r\n--b\r\n"
		  "Content-type: text/plain; charset=us-ascii\r\n\r\n"
		  "second\r\n\r\n--b--\r\nepilogue\r\n",
		    "multipart/mixed|.text/plain=first|"
		    ".text/plain=second\r\n|" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n"
		  "--b\n\nfirst\n--b\n\nsecond\n\n--b--\n",
		    "multipart/mixed|.text/plain=first|"
		    ".text/plain=second\n|" },
		/* no end, no body, padding behind a delimiter */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\nx\n",
		    "multipart/mixed|.text/plain=x\n|" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n"
		  "A: b\n--b--",
		    "multipart/mixed|.text/plain=|.text/plain=|" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b",
		    "multipart/mixed|.text/plain=|" },
		{ "Content-Type: multipart/mixed; boundary=b\n\nnothing\n",
		    "multipart/mixed|" },
		{ "Content-Type: multipart/mixed; boundary=b\n--b\n\nx\n--b--",
		    "multipart/mixed|.text/plain=x|" },
		/* a boundary that starts like another */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
		  "Content-Type: multipart/alternative; boundary=bb\n\n"
		  "--bb\n\n1\n--bb--\n--bb\n--b\n\n2\n--b--\n",
		    "multipart/mixed|.multipart/alternative|"
		    "..text/plain=1|.text/plain=2|" },
		{ "Content-Type: multipart/mixed; boundary=bb\n\n--bb\n"
		  "Content-Type: multipart/alternative; boundary=b\n\n"
		  "--b\n\n1\n--bb\n\n2\n--bb--\n",
		    "multipart/mixed|.multipart/alternative|"
		    "..text/plain=1|.text/plain=2|" },
		/* what only starts with a boundary delimits it as well: the
		 * longest, and the last delimiter too */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
		  "Content-Type: multipart/alternative; boundary=bb\n\n"
		  "--bb x\n\n1\n--bbb\n\n2\n--b.\n\n3\n--b--x\n--b\n",
		    "multipart/mixed|.multipart/alternative|"
		    "..text/plain=1|..text/plain=2|.text/plain=3|" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n"
		  " --b\n-b\n--B\n--b--\n",
		    "multipart/mixed|.text/plain=1\n --b\n-b\n--B|" },
		/* a delimiter that could be a header field */
		{ "Content-Type: multipart/mixed; boundary=\"a:b\"\n\n--a:b\n"
		  "X: y\n--a:b\n\nz\n--a:b--\n",
		    "multipart/mixed|.text/plain=|.text/plain=z|" },
		/* the same boundary inside and outside */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
		  "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n"
		  "--b--\n--b\n\n2\n--b--\n",
		    "multipart/mixed|.multipart/mixed|..text/plain=1|"
		    ".text/plain=2|" },
		/* what is behind the last delimiter is no part */
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n"
		  "--b--\n--b\n\n2\n", "multipart/mixed|.text/plain=1|" },
		{ "Content-Type: multipart/digest; boundary=b\n\n--b\n\n"
		  "Subject: x\n\nin\n--b\nContent-Type: text/plain\n\ny\n"
		  "--b--\n", "multipart/digest|.message/rfc822|"
		    "..text/plain=in|.text/plain=y|" },
		{ "Content-Type: message/rfc822\n\nContent-Type: multipart/x;"
		  " boundary=b\n\n--b\n\nin\n--b--\n",
		    "message/rfc822|.multipart/x|..text/plain=in|" },
		{ "Content-Type: multipart/mixed; boundary*0=a;"
		  " boundary*1=b\n\n--ab\n\n1\n--ab--",
		    "multipart/mixed|.text/plain=1|" },
		{ "content-TYPE : MULTIPART/Mixed ; BOUNDARY=b\n\n--b\n\n1",
		    "MULTIPART/Mixed|.text/plain=1|" },
	};
	struct mime m;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(mime_parse(str_of(rows[i].message), arena,
		    &m), 0);
		show(&m, &b);
		if (strcmp(buf_cstr(&b), rows[i].shape) != 0)
			fail_msg("%s\n got %s\nnot %s", rows[i].message,
			    buf_cstr(&b), rows[i].shape);
	}
	buf_fini(&b);
}

static void fields_of_a_part_are_kept(void **state)
{
	static const struct str m = STR(
	    "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
	    "Content-Transfer-Encoding: Quoted-Printable (x)\r\n"
	    "Content-ID: <a@b>\r\nContent-Description: a\r\n b\r\n"
	    "Content-Disposition: attachment; filename=x.txt\r\n"
	    "Content-Language: en, de\r\nContent-Location: http://x/\r\n"
	    "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
	    "Content-ID: <second>\r\n\r\nbody\r\n");
	struct mime mime;
	const struct mime_part *p;

	(void)state;
	assert_int_equal(mime_parse(m, arena, &mime), 0);
	p = &mime.parts[0];
	assert_str(p->encoding, "Quoted-Printable", "encoding");
	assert_int_equal(p->transfer, MAIL_ENCODING_QUOTED);
	assert_str(p->id, "<a@b>", "id");
	assert_str(p->description, "a b", "description");
	assert_str(p->disposition, "attachment", "disposition");
	assert_str(p->language, "en, de", "language");
	assert_str(p->location, "http://x/", "location");
	assert_str(p->md5, "Q2hlY2sgSW50ZWdyaXR5IQ==", "md5");
	assert_int_equal(p->params.count, 2);
	assert_int_equal(p->disposition_params.count, 1);
	assert_true(p->text && mime_is(p, "TEXT", "PLAIN"));
	assert_int_equal(p->header_lines, 11);
	assert_int_equal(p->body_lines, 1);
	assert_int_equal(p->body_size, 6);
}

static void part_numbers_are_resolved(void **state)
{
	/* the example of RFC 3501 6.4.5 in small */
	static const struct str m = STR(
	    "Content-Type: multipart/mixed; boundary=a\n\n"
	    "--a\n\none\n"
	    "--a\nContent-Type: application/octet-stream\n\ntwo\n"
	    "--a\nContent-Type: message/rfc822\n\n"
	    "Content-Type: multipart/mixed; boundary=b\n\n"
	    "--b\n\n3.1\n--b\nContent-Type: image/gif\n\n3.2\n--b--\n"
	    "--a\nContent-Type: multipart/mixed; boundary=c\n\n"
	    "--c\nContent-Type: message/rfc822\n\n"
	    "Subject: x\n\n4.1.1\n--c--\n--a--\n");
	static const struct {
		uint32_t numbers[4];
		unsigned count;
		const char *body;	/* NULL: no such part */
	} rows[] = {
		{ { 1 }, 1, "one" }, { { 2 }, 1, "two" },
		{ { 3, 1 }, 2, "3.1" }, { { 3, 2 }, 2, "3.2" },
		{ { 4, 1 }, 2, "Subject: x\n\n4.1.1" },
		{ { 4, 1, 1 }, 3, "4.1.1" }, { { 4, 1, 1, 1 }, 4, NULL },
		{ { 4, 1, 2 }, 3, NULL }, { { 5 }, 1, NULL },
		{ { 0 }, 1, NULL }, { { 1, 1 }, 2, NULL },
		{ { 3, 3 }, 2, NULL }, { { UINT32_MAX }, 1, NULL },
	};
	static const struct str single = STR("A: b\n\nbody");
	static const struct str nested = STR("Content-Type: message/rfc822\n\n"
	    "A: b\n\nbody");
	struct mime mime;
	const struct mime_part *p;

	(void)state;
	assert_int_equal(mime_parse(m, arena, &mime), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		p = mime_find(&mime, rows[i].numbers, rows[i].count);
		if (rows[i].body == NULL)
			assert_null(p);
		else
			assert_str(mime_body(&mime, p), rows[i].body, "part");
	}
	assert_int_equal(mime_parse(single, arena, &mime), 0);
	p = mime_find(&mime, (uint32_t[]){ 1 }, 1);
	assert_str(mime_body(&mime, p), "body", "1");
	assert_null(mime_find(&mime, (uint32_t[]){ 1, 1 }, 2));
	assert_null(mime_find(&mime, (uint32_t[]){ 2 }, 1));
	assert_int_equal(mime_parse(nested, arena, &mime), 0);
	p = mime_find(&mime, (uint32_t[]){ 1 }, 1);
	assert_str(mime_body(&mime, p), "A: b\n\nbody", "1");
	p = mime_find(&mime, (uint32_t[]){ 1, 1 }, 2);
	assert_str(mime_body(&mime, p), "body", "1.1");
	assert_null(mime_find(&mime, (uint32_t[]){ 1, 1, 1 }, 3));
}

static void bombs_meet_the_caps(void **state)
{
	struct mime m;
	struct buf b;

	(void)state;
	buf_init(&b, 64 << 20);
	/* SMTP-175 */
	buf_append_c(&b, "Content-Type: multipart/mixed; boundary=x\r\n\r\n");
	for (int i = 0; i < 1000000; i++)
		buf_append_c(&b, "--x\r\n\r\n");
	buf_append_c(&b, "--x--\r\n");
	assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
	assert_int_equal(m.count, MIME_PARTS_MAX);
	assert_true(m.truncated);
	assert_int_equal(m.parts[0].body_size, m.parts[0].body_n);
	arena_reset(arena);
	/* SMTP-176 */
	buf_reset(&b);
	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "Content-Type: multipart/mixed; boundary=%d."
		    "\n\n--%d.\n", i, i);
	buf_append_c(&b, "\nend\n");
	assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
	assert_int_equal(m.count, MIME_DEPTH_MAX);
	assert_str(m.parts[m.count - 1].subtype, "octet-stream", "deepest");
	assert_true(m.truncated);
	arena_reset(arena);
	/* SMTP-177 */
	buf_reset(&b);
	for (int i = 0; i < 2000; i++)
		buf_append_c(&b, "Content-Type: message/rfc822\n\n");
	assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
	assert_int_equal(m.count, MIME_DEPTH_MAX);
	assert_false(m.parts[m.count - 1].message);
	arena_reset(arena);
	/* messages in the last parts there is room for */
	buf_reset(&b);
	buf_append_c(&b, "Content-Type: multipart/digest; boundary=x\n\n");
	for (int i = 0; i < 6000; i++)
		buf_append_c(&b, "--x\n\n\n");
	assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
	assert_int_equal(m.count, MIME_PARTS_MAX);
	for (uint32_t i = 0; i < m.count; i++)
		assert_true(!m.parts[i].message || m.parts[i].children == 1);
	arena_reset(arena);
	/* SMTP-178 */
	buf_reset(&b);
	buf_append_c(&b, "Content-Type: multipart/mixed; boundary=\"");
	for (int i = 0; i < 100000; i++)
		buf_append_char(&b, 'b');
	buf_append_c(&b, "\"\n\nb\n");
	assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
	assert_int_equal(m.count, 1);
	arena_reset(arena);
	buf_fini(&b);
}

static uint64_t plain_size(struct str s)
{
	uint64_t n = s.n;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r');
	return n;
}

/* Messages put together from what matters to the parser. */
static void random_message(unsigned *seed, const char *eol, struct buf *b)
{
	static const char *const pieces[] = {
		"--a", "--b", "--a--", "--b--", "--ab", "", "", "text",
		"Content-Type: multipart/mixed; boundary=a",
		"Content-Type: multipart/digest; boundary=b",
		"Content-Type: multipart/x; boundary=ab",
		"Content-Type: message/rfc822", "Content-Type: text/plain",
		"Subject: x", " fold", "-", "--", "--a ",
	};

	buf_reset(b);
	for (int n = rand_r(seed) % 24; n > 0; n--)
		buf_printf(b, "%s%s", pieces[(unsigned)rand_r(seed) %
		    COUNT(pieces)], eol);
	if (rand_r(seed) % 4 == 0 && b->n > 0)
		buf_truncate(b, b->n - 1);
}

static void any_message_gives_a_sound_tree(void **state)
{
	unsigned seed = 29;
	struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (int round = 0; round < 50000; round++) {
		struct mime m;

		random_message(&seed, round & 1 ? "\r\n" : "\n", &b);
		assert_int_equal(mime_parse(buf_str(&b), arena, &m), 0);
		assert_int_equal(mime_size(&m), plain_size(buf_str(&b)));
		for (uint32_t i = 0; i < m.count; i++) {
			const struct mime_part *p = &m.parts[i], *up;
			uint32_t children = 0;

			assert_int_equal(p->header_at + p->header_n,
			    p->body_at);
			assert_int_equal(p->header_size,
			    plain_size(mime_header(&m, p)));
			assert_int_equal(p->body_size,
			    plain_size(mime_body(&m, p)));
			assert_true(p->body_at + p->body_n <= b.n);
			for (uint32_t c = p->first_child; c != MIME_NO_PART;
			    c = m.parts[c].next) {
				assert_true(c > i);
				assert_int_equal(m.parts[c].parent, i);
				children++;
			}
			assert_int_equal(children, p->children);
			if (i == 0)
				continue;
			up = &m.parts[p->parent];
			assert_true(p->header_at >= up->body_at);
			assert_true(p->body_n == 0 || p->body_at + p->body_n <=
			    up->body_at + up->body_n);
		}
		arena_reset(arena);
	}
	buf_fini(&b);
}

static void lf_and_crlf_give_the_same_sizes(void **state)
{
	unsigned seed = 31, again;
	struct buf a, b;

	(void)state;
	buf_init(&a, 10000);
	buf_init(&b, 10000);
	for (int round = 0; round < 20000; round++) {
		struct mime x, y;

		again = seed;
		random_message(&seed, "\n", &a);
		random_message(&again, "\r\n", &b);
		if (a.n == 0 || a.p[a.n - 1] != '\n' || b.p[b.n - 1] != '\n')
			continue;	/* cut within a line end */
		assert_int_equal(mime_parse(buf_str(&a), arena, &x), 0);
		assert_int_equal(mime_parse(buf_str(&b), arena, &y), 0);
		assert_int_equal(x.count, y.count);
		for (uint32_t i = 0; i < x.count; i++) {
			assert_int_equal(x.parts[i].parent, y.parts[i].parent);
			assert_int_equal(x.parts[i].body_size,
			    y.parts[i].body_size);
			assert_int_equal(x.parts[i].body_lines,
			    y.parts[i].body_lines);
			assert_int_equal(x.parts[i].header_size,
			    y.parts[i].header_size);
		}
		arena_reset(arena);
	}
	buf_fini(&a);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structures_are_found),
		cmocka_unit_test(fields_of_a_part_are_kept),
		cmocka_unit_test(part_numbers_are_resolved),
		cmocka_unit_test(bombs_meet_the_caps),
		cmocka_unit_test(any_message_gives_a_sound_tree),
		cmocka_unit_test(lf_and_crlf_give_the_same_sizes),
	};
	int failed;

	arena = arena_new(64 << 20);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&arena);
	return failed;
}
