#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"

static log_sink_fn *sink;
static void *sink_ctx;
static const char *name = "postern";
static bool verbose;
/* While the sink has a line of log_info_as(). */
static _Thread_local const char *as_program;

void log_set_sink(log_sink_fn *fn, void *ctx)
{
	sink = fn;
	sink_ctx = ctx;
}

void log_set_name(const char *program)
{
	name = program;
}

void log_set_verbose(bool on)
{
	verbose = on;
}

bool log_is_verbose(void)
{
	return verbose;
}

static void to_stderr(struct str line)
{
	char out[LOG_LINE_MAX + 128];
	int n = snprintf(out, sizeof(out), "%s: " STR_FMT "\n", name,
	    STR_ARG(line));

	if (n > 0 && write(2, out, (size_t)n < sizeof(out) ? (size_t)n
		: sizeof(out) - 1) < 0)
		return;
}

/*
 * Octets of the character at the start that the log may show as it is; 0:
 * none, the first octet is escaped. Beside control octets and what is no
 * UTF-8 these are characters that end a line or turn its direction for some
 * who show it: C1 (U+0080-9F), U+200E-F, U+2028-E, U+2066-9.
 */
static size_t showable(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 1)
		return p[0] >= 32 && p[0] != 127 ? 1 : 0;
	if (n > s.n || !str_is_utf8(str_sub(s, 0, n)))
		return 0;
	if (p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f ||
	    (p[2] >= 0xa8 && p[2] <= 0xae)))
		return 0;
	if (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
		return 0;
	return n;
}

/* One character of *rest, as a line shows it; returns its octets in out. */
static size_t show(struct str *rest, char out[5])
{
	size_t k = showable(*rest), n = k;

	if (k == 0)
		n = (size_t)snprintf(out, 5, "\\x%02x",
		    (unsigned char)rest->p[0]);
	else
		memcpy(out, rest->p, k);
	*rest = str_from(*rest, k > 0 ? k : 1);
	return n;
}

void log_append_shown(struct buf *out, struct str text)
{
	char c[5];

	while (text.n > 0)
		buf_append(out, str_n(c, show(&text, c)));
}

__attribute__((format(printf, 2, 0)))
static void emit(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const prefix[] = { "debug: ", "", "warning: ",
		"fatal: ", "panic: " };
	char raw[LOG_LINE_MAX + 1], line[LOG_LINE_MAX + 1];
	size_t n = strlen(prefix[level]);
	int len = vsnprintf(raw, sizeof(raw), fmt, ap);

	if (len < 0)
		return;
	if ((size_t)len >= sizeof(raw))
		len = sizeof(raw) - 1;
	memcpy(line, prefix[level], n);
	for (struct str rest = str_n(raw, (size_t)len); rest.n > 0 &&
	    n < sizeof(line) - 5;)
		n += show(&rest, line + n);
	if (sink != NULL)
		sink(level, str_n(line, n), sink_ctx);
	else
		to_stderr(str_n(line, n));
}

#define EMIT(level) do { \
	va_list ap; \
	va_start(ap, fmt); \
	emit(level, fmt, ap); \
	va_end(ap); \
} while (0)

void log_debug(const char *fmt, ...)
{
	if (verbose)
		EMIT(LOG_LEVEL_DEBUG);
}

void log_info(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_INFO);
}

void log_info_as(const char *program, const char *fmt, ...)
{
	as_program = program;
	EMIT(LOG_LEVEL_INFO);
	as_program = NULL;
}

const char *log_program(void)
{
	return as_program;
}

void log_warn(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_WARN);
}

void log_fatal(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_FATAL);
	exit(1);
}

void log_panic(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_PANIC);
	abort();
}

void log_append_delay(struct buf *out, int64_t us)
{
	int64_t h = us < 0 ? 0 : us / 10000 + (us % 10000 >= 5000);

	if (h >= 1000)
		buf_printf(out, "%lld", (long long)((h + 50) / 100));
	else if (h >= 100)
		buf_printf(out, (h + 5) / 10 % 10 ? "%lld.%lld" : "%lld",
		    (long long)((h + 5) / 100), (long long)((h + 5) / 10 % 10));
	else if (h % 10 == 0)
		buf_printf(out, h ? "0.%lld" : "0", (long long)(h / 10));
	else
		buf_printf(out, "0.%02lld", (long long)h);
}
