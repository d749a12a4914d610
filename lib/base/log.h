/*
 * log.h - what a program says, and who is woken
 *
 *   log_info    for the record
 *   log_warn    the operator can mend it        "warning: ..."
 *   log_fatal   the world is broken: exits 1    "fatal: ..."
 *   log_panic   our code is wrong: aborts       "panic: ..."
 *
 * A line goes to the sink: stderr until a program sets another (the service
 * skeleton sets the one that talks to `log`). Control octets, DEL, what is no
 * UTF-8 and characters that end a line or turn its direction are written as
 * \xNN, so one call is one line of at most LOG_LINE_MAX octets (a longer one
 * is cut).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdarg.h>
#include "base/buf.h"

#define LOG_LINE_MAX 2000

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN,
	LOG_LEVEL_FATAL, LOG_LEVEL_PANIC };

/* The line has its "warning: " and no newline; it is already escaped. */
typedef void log_sink_fn(enum log_level, struct str line, void *ctx);
void log_set_sink(log_sink_fn *, void *ctx);
/* Program name in front of lines that go to stderr. */
void log_set_name(const char *);
void log_set_verbose(bool);
bool log_is_verbose(void);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As the program of that name, whose work ours does: readers of the log know a
 * transport by it. NULL: as ourselves. */
void log_info_as(const char *program, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* For the sink: that name, or NULL: our own. */
const char *log_program(void);
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void log_panic(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* The text as a log line shows it, for what goes to a terminal. */
void log_append_shown(struct buf *, struct str text);
/* Microseconds as the delay= and delays= of a delivery tell them: seconds
 * with two significant digits, at most two behind the point, as Postfix. */
void log_append_delay(struct buf *, int64_t us);
#endif
