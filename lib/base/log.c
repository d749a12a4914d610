#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"

static log_sink_fn *sink;
static void *sink_ctx;
static const char *name = "postern";
static bool verbose;

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
	for (int i = 0; i < len && n < sizeof(line) - 5; i++) {
		unsigned char c = (unsigned char)raw[i];

		if (c < 32 || c == 127)
			n += (size_t)snprintf(line + n, 5, "\\x%02x", c);
		else
			line[n++] = (char)c;
	}
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
	int64_t h = us < 0 ? 0 : (us + 5000) / 10000;

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
