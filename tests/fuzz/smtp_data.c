/*
 * smtp_data.c - the end-of-data DFA, and the emitter on the other side
 *
 * Against a model that looks at the whole text, for every way of cutting it;
 * what the emitter writes of the content comes back as the content.
 */
#include <sys/socket.h>
#include <unistd.h>
#include "fuzz.h"
#include "net/smtp_data.h"

/* Events in one text: octets as they are, but each with a tag, so that
 * content that looks like an event is told from one. */
static void put(struct buf *out, char tag, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		buf_append_char(out, tag);
		buf_append_char(out, s.p[i]);
	}
}

/*
 * RFC 5321 4.1.1.4 and 4.5.2 on the whole text: at the start of a line (of
 * the text, and behind CR LF) a "." before CR LF ends it and any other is
 * left out; a CR or LF outside of CR LF is bare. A "." that begins a line
 * is only left out once something is known of what is behind it, so at the
 * end of the input nothing is said of it yet, nor of a last CR.
 */
static void model(struct str in, struct buf *out, size_t *used_r)
{
	bool line_start = true;
	size_t i = 0;

	while (i < in.n) {
		struct str rest = str_from(in, i);

		if (line_start && rest.p[0] == '.') {
			line_start = false;
			if (str_starts(rest, STR(".\r\n"))) {
				buf_append_c(out, "END");
				*used_r = i + 3;
				return;
			}
			i++;
		} else if (str_starts(rest, STR("\r\n"))) {
			put(out, 'x', STR("\r\n"));
			line_start = true;
			i += 2;
		} else if (rest.p[0] == '\r' && rest.n == 1) {
			break;
		} else {
			line_start = false;
			if (rest.p[0] == '\r')
				put(out, 'r', STR("\r"));
			else if (rest.p[0] == '\n')
				put(out, 'n', STR("\n"));
			else
				put(out, 'x', str_sub(rest, 0, 1));
			i++;
		}
	}
	*used_r = in.n;
}

static void run(struct str in, unsigned way, struct buf *out, size_t *used_r)
{
	struct fuzz_cuts cuts = fuzz_cuts(in, way);
	struct smtp_data d;
	struct str piece, span;

	*used_r = 0;
	smtp_data_init(&d);
	while (fuzz_piece(&cuts, &piece)) {
		struct str rest = piece;

		for (;;) {
			enum smtp_data_event e = smtp_data_next(&d, &rest,
			    &span);

			if (e == SMTP_DATA_MORE)
				break;
			if (e == SMTP_DATA_END) {
				buf_append_c(out, "END");
				*used_r += piece.n - rest.n;
				return;
			}
			if (e == SMTP_DATA_SPAN)
				put(out, 'x', span);
			else
				put(out, e == SMTP_DATA_BARE_CR ? 'r' : 'n',
				    e == SMTP_DATA_BARE_CR ? STR("\r") :
				    STR("\n"));
		}
		fuzz_check(rest.n == 0, "MORE with octets left");
		*used_r += piece.n;
	}
}

/* What smtp_data_write() sends of content comes back as that content with
 * its bare CR and LF as CR LF, and ends where the writer ended. */
static void there_and_back(struct str content)
{
	int pair[2];
	struct stream *to, *from;
	struct smtp_data_out out;
	struct smtp_data d;
	struct fuzz_cuts cuts = fuzz_cuts(content, 3);
	struct str piece, span;
	struct buf want, got;
	enum stream_result r;
	enum smtp_data_event e;

	if (content.n > 16384)	/* it must fit into the socket */
		return;
	buf_init(&want, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	for (size_t i = 0; i < content.n; i++) {
		bool cr = content.p[i] == '\r', lf = content.p[i] == '\n';

		if (cr || lf)
			buf_append_c(&want, "\r\n");
		else
			buf_append_char(&want, content.p[i]);
		if (cr && i + 1 < content.n && content.p[i + 1] == '\n')
			i++;
	}
	if (want.n > 0 && !str_ends(buf_str(&want), STR("\r\n")))
		buf_append_c(&want, "\r\n");
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "pair");
	to = stream_new(pair[0]);
	from = stream_new(pair[1]);
	smtp_data_out_init(&out);
	while (fuzz_piece(&cuts, &piece))
		fuzz_check(smtp_data_write(&out, to, piece) == 0, "write");
	fuzz_check(smtp_data_finish(&out, to) == 0, "finish");
	stream_write(to, STR("behind"));
	stream_flush(to);
	smtp_data_init(&d);
	while ((e = smtp_data_read(&d, from, &span, &r)) == SMTP_DATA_SPAN &&
	    r == STREAM_OK)
		buf_append(&got, span);
	fuzz_check(r == STREAM_OK && e == SMTP_DATA_END, "event %d", e);
	fuzz_check_same("content there and back", buf_str(&want),
	    buf_str(&got));
	r = stream_read_some(from, 100, &span);
	fuzz_check_same("what is behind the end", span, STR("behind"));
	stream_free(&to);
	stream_free(&from);
	buf_fini(&want);
	buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str in = { (const char *)p, n };
	struct buf want, got;
	size_t want_used, used;

	buf_init(&want, SIZE_MAX);
	buf_init(&got, SIZE_MAX);
	model(in, &want, &want_used);
	for (unsigned way = 0; way < FUZZ_WAYS; way++) {
		buf_reset(&got);
		fuzz_budget_start();
		run(in, way, &got, &used);
		fuzz_check_steps(200, n, 200);
		fuzz_check_same("the model", buf_str(&want), buf_str(&got));
		fuzz_check(used == want_used, "used %zu, model %zu", used,
		    want_used);
	}
	there_and_back(in);
	buf_fini(&want);
	buf_fini(&got);
	fuzz_end();
	return 0;
}
