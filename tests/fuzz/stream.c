/*
 * stream.c - the line reader, and the other readers between lines
 *
 * Octets come in pieces cut at any place; a model holds the whole text. The
 * last octets of the input say which reader is called in turn.
 */
#include <stdlib.h>
#include <unistd.h>
#include "fuzz.h"
#include "net/stream.h"

/* A transport that gives one piece a read. */
struct feed {
	struct fuzz_cuts cuts;
	struct str piece;
};

static ssize_t feed_read(void *ctx, void *p, size_t n, int64_t deadline)
{
	struct feed *f = ctx;

	(void)deadline;
	while (f->piece.n == 0)
		if (!fuzz_piece(&f->cuts, &f->piece))
			return 0;
	if (n > f->piece.n)
		n = f->piece.n;
	memcpy(p, f->piece.p, n);
	f->piece = str_from(f->piece, n);
	return (ssize_t)n;
}

static int feed_write(void *ctx, const void *p, size_t n, int64_t deadline)
{
	(void)ctx, (void)p, (void)n, (void)deadline;
	return 0;
}

static size_t feed_pending(void *ctx)
{
	(void)ctx;
	return 0;
}

static const char *feed_why(void *ctx)
{
	(void)ctx;
	return NULL;
}

static void feed_free(void *ctx)
{
	(void)ctx;
}

static const struct stream_transport feed_transport = { feed_read, feed_write,
	feed_pending, feed_why, feed_free };

/* The model's line: what stream.h says. */
static enum stream_result model_line(struct str *rest, size_t max,
    size_t discard, struct stream_line *line_r, bool *may_flood_r)
{
	ssize_t lf = str_chr(*rest, '\n');
	size_t n = lf < 0 ? rest->n : (size_t)lf;
	struct str all = str_sub(*rest, 0, n);

	*line_r = (struct stream_line){ .text = STR_NONE };
	/* By how far a reader may see an end that is behind the limit. */
	*may_flood_r = n > max && n - max > discard;
	if (lf < 0) {
		*rest = STR_NONE;
		if (n <= max + 1)
			line_r->text = str_sub(all, 0, max);
		return STREAM_EOF;
	}
	*rest = str_from(*rest, n + 1);
	line_r->end = STREAM_END_LF;
	if (n > 0 && all.p[n - 1] == '\r') {
		line_r->end = STREAM_END_CRLF;
		all.n--;
	}
	line_r->text = str_sub(all, 0, max);
	return all.n > max ? STREAM_TOO_LONG : STREAM_OK;
}

static bool one_line(struct stream *s, struct str *rest, size_t max,
    size_t discard)
{
	struct stream_line got, want;
	bool may_flood;
	enum stream_result r = stream_read_line(s, max, &got);
	enum stream_result w = model_line(rest, max, discard, &want,
	    &may_flood);

	if (r == STREAM_FLOOD) {
		fuzz_check(may_flood, "a flood that is none");
		return false;
	}
	fuzz_check(r == w, "line: %d, model %d", r, w);
	fuzz_check_same("the line", got.text, want.text);
	if (r == STREAM_OK)
		fuzz_check(got.end == want.end, "its end");
	return r != STREAM_EOF;
}

static bool one_piece(struct stream *s, struct str *rest, size_t max)
{
	struct str piece;
	enum stream_result r = stream_read_some(s, max, &piece);

	if (rest->n == 0) {
		fuzz_check(r == STREAM_EOF && piece.n == 0, "some: %d", r);
		return false;
	}
	fuzz_check(r == STREAM_OK && piece.n > 0 && piece.n <= max,
	    "some: %d, %zu", r, piece.n);
	fuzz_check_same("the piece", piece, str_sub(*rest, 0, piece.n));
	*rest = str_from(*rest, piece.n);
	return true;
}

static bool exactly(struct stream *s, struct str *rest, size_t n)
{
	char *p = malloc(n ? n : 1);
	enum stream_result r = stream_read_full(s, p, n);

	if (n > rest->n) {
		free(p);
		fuzz_check(r == STREAM_EOF, "full: %d", r);
		return false;
	}
	fuzz_check(r == STREAM_OK, "full: %d", r);
	fuzz_check_same("octets", str_n(p, n), str_sub(*rest, 0, n));
	free(p);
	*rest = str_from(*rest, n);
	return true;
}

static bool over(struct stream *s, struct str *rest, uint64_t n)
{
	enum stream_result r = stream_skip(s, n);

	if (n > rest->n) {
		fuzz_check(r == STREAM_EOF, "skip: %d", r);
		return false;
	}
	fuzz_check(r == STREAM_OK, "skip: %d", r);
	*rest = str_from(*rest, n);
	return true;
}

/* What a hand-over puts in front is read first. */
static bool push(struct stream *s, struct str *rest, size_t n)
{
	struct str back = str_sub(*rest, 0, n);

	if (!over(s, rest, back.n))
		return false;
	if (back.n + stream_buffered(s) > STREAM_IN_BIG)
		return false;	/* more than may be put back */
	fuzz_check(stream_push_input(s, back) == 0, "push");
	/* The model's text is contiguous: go back in it. */
	rest->p -= back.n;
	rest->n += back.n;
	return true;
}

static void run(struct str text, unsigned way, struct fuzz_in choices)
{
	static const size_t sizes[] = { 1, 2, 5, 12, 80, 512, 2000, 4094,
		4096, 5000, 65534 };
	struct feed f = { .cuts = fuzz_cuts(text, way) };
	struct stream *s = stream_new(dup(0));
	struct str rest = text;
	size_t discard = 1 + fuzz_number(&choices, 6000);
	bool go = true;

	fuzz_check(s != NULL, "stream");
	fuzz_check(stream_start_tls(s, &feed_transport, &f) == 0, "layer");
	stream_set_discard_max(s, discard);
	for (int i = 0; go && i < 500; i++) {
		unsigned c = fuzz_octet(&choices);
		size_t n = sizes[c / 8 % (sizeof(sizes) / sizeof(sizes[0]))];

		switch (c % 8) {
		case 4: go = one_piece(s, &rest, n); break;
		case 5: go = exactly(s, &rest, n); break;
		case 6: go = over(s, &rest, n); break;
		case 7: go = push(s, &rest, n); break;
		default: go = one_line(s, &rest, n, discard); break;
		}
		fuzz_check(stream_buffered(s) <= rest.n, "buffered too much");
		if (c == 255)
			stream_release(s);
	}
	stream_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	size_t choices = fuzz_number(&in, 31);
	struct str tail = str_from(in.rest, in.rest.n > choices ?
	    in.rest.n - choices : 0);
	struct str text = str_sub(in.rest, 0, in.rest.n - tail.n);

	/* Long lines come out of few octets: the text is repeated. */
	struct buf all;

	buf_init(&all, SIZE_MAX);
	for (unsigned k = choices >= 28 ? 1U << (choices + 4) % 12 : 1;
	    k > 0 && all.n < 140000; k--)
		buf_append(&all, text);
	for (unsigned way = 0; way < FUZZ_WAYS; way++) {
		if (way == 1 && all.n > 2000)
			continue;
		fuzz_budget_start();
		run(buf_str(&all), way,
		    (struct fuzz_in){ tail });
		/* Two input buffers while one grows; exactly()'s octets. */
		if (way == 0)
			fuzz_check_heap(3 * STREAM_IN_BIG + 10000);
		fuzz_end();
	}
	buf_fini(&all);
	return 0;
}
