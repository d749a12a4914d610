/*
 * log.c - one call is one line, whatever is in it; an answer's text too
 *
 * No octet that ends a line or moves a terminal's cursor, no broken UTF-8,
 * no longer than stated; and a line is cut, never lost.
 */
#include <stdio.h>
#include "base/log.h"
#include "fuzz.h"
#include "mail/compose.h"
#include "smtp/reply.h"

static struct buf seen;
static unsigned lines;

static void sink(enum log_level level, struct str line, void *ctx)
{
	(void)level, (void)ctx;
	lines++;
	buf_reset(&seen);
	buf_append(&seen, line);
}

static void check_line(struct str line)
{
	fuzz_check(line.n <= LOG_LINE_MAX, "%zu octets", line.n);
	fuzz_check(!str_has_ctl(line), "a control octet");
	for (size_t i = 0; i + 1 < line.n; i++) {
		const unsigned char *p = (const unsigned char *)line.p + i;

		fuzz_check(p[0] != 0xc2 || p[1] >= 0xa0, "a C1 control");
		if (p[0] == 0xe2 && i + 2 < line.n) {
			fuzz_check(p[1] != 0x80 || !((p[2] >= 0x8e &&
			    p[2] <= 0x8f) || (p[2] >= 0xa8 &&
			    p[2] <= 0xae)), "it turns or ends the line");
			fuzz_check(p[1] != 0x81 || p[2] < 0xa6 ||
			    p[2] > 0xa9, "it turns the line");
		}
	}
	fuzz_check(str_is_utf8(line), "not UTF-8");
}

/* \xNN undone: what was said, as far as the line goes. */
static void check_content(struct str line, struct str said)
{
	size_t k = 0;

	for (size_t i = 0; i < line.n && k < said.n; k++) {
		unsigned v;

		/* A backslash stands for itself when it was said. */
		if (line.p[i] == said.p[k]) {
			i++;
			continue;
		}
		fuzz_check(line.n - i >= 4 && line.p[i] == '\\' &&
		    sscanf(fuzz_cstr(str_sub(line, i, 4)), "\\x%2x", &v) ==
		    1 && v == (unsigned char)said.p[k],
		    "octet %zu is not what was said", k);
		i += 4;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str s = fuzz_exact(str_n(p, n));
	char *text = fuzz_cstr(s);
	char out[200], again[200];
	struct buf b;
	size_t k;

	lines = 0;
	fuzz_budget_start();
	log_info("%s", text);
	fuzz_check_steps(300, n, 3000);
	fuzz_check(lines == 1, "%u lines", lines);
	check_line(buf_str(&seen));
	check_content(buf_str(&seen), str_of(text));
	fuzz_check(seen.n > 0 || text[0] == '\0', "nothing of it");
	log_warn("a=%.*s b=", (int)(n < 2000 ? n : 2000), text);
	check_line(buf_str(&seen));

	k = reply_clean(s, out, sizeof(out));
	fuzz_check(k < sizeof(out) && out[k] == '\0' &&
	    !str_has_ctl(str_n(out, k)) && str_is_utf8(str_n(out, k)),
	    "a cleaned reply");
	fuzz_check(reply_clean(str_n(out, k), again, sizeof(again)) == k &&
	    memcmp(out, again, k) == 0, "cleaned twice");
	buf_init(&b, SIZE_MAX);
	for (int utf8 = 0; utf8 < 2; utf8++) {
		buf_reset(&b);
		fuzz_check(mail_text_append(&b, s, utf8) == 0, "limit");
		fuzz_check(!str_has_ctl(buf_str(&b)) &&
		    (utf8 ? str_is_utf8(buf_str(&b)) :
		    str_is_ascii(buf_str(&b))), "text");
	}
	buf_fini(&b);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	buf_init(&seen, SIZE_MAX);
	log_set_sink(sink, NULL);
	return 0;
}
