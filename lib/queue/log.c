#include <errno.h>
#include <stdlib.h>
#include "base/crc32c.h"
#include "base/sys.h"
#include "queue/log.h"
#include "queue/wire.h"

#define FIXED 24u
#define RECORD_MAX (FIXED + 4 * (2 + QUEUE_LOG_TEXT_MAX))
#define CHUNK (4 * RECORD_MAX)

const char *queue_log_what_name(enum queue_log_what what)
{
	static const char *const names[QUEUE_LOG_WHAT_END] = {
		[QUEUE_LOG_SENT] = "sent", [QUEUE_LOG_RELAYED] = "relayed",
		[QUEUE_LOG_EXPANDED] = "expanded",
		[QUEUE_LOG_DEFERRED] = "deferred",
		[QUEUE_LOG_FAILED] = "failed",
		[QUEUE_LOG_NOTIFIED] = "notified",
		[QUEUE_LOG_WARNED] = "warned", [QUEUE_LOG_EXPIRE] = "expire",
	};

	return what < QUEUE_LOG_WHAT_END && names[what] ? names[what] : "?";
}

static void add_text(struct buf *out, struct str s)
{
	unsigned char raw[2];
	size_t at = out->n + 2;

	if (s.n > QUEUE_LOG_TEXT_MAX)
		s.n = QUEUE_LOG_TEXT_MAX;
	put16(raw, (uint16_t)s.n);
	buf_append_n(out, raw, 2);
	if (buf_append(out, s) < 0)
		return;
	for (size_t i = at; i < out->n; i++)
		if (out->p[i] == '\0' || out->p[i] == '\r' ||
		    out->p[i] == '\n')
			out->p[i] = ' ';
}

static uint32_t sum_record(uint64_t id, const void *record, size_t n)
{
	unsigned char raw[8];

	put64(raw, id);
	return crc32c(crc32c(0, raw, 8), (const char *)record + 8, n - 8);
}

int queue_log_encode(uint64_t id, const struct queue_log_record *r,
    struct buf *out)
{
	unsigned char fixed[FIXED] = { 0 };
	size_t start = out->n;

	put32(fixed + 8, r->recipient);
	put32(fixed + 12, r->what);
	put64(fixed + 16, (uint64_t)r->when);
	buf_append_n(out, fixed, FIXED);
	add_text(out, r->status);
	add_text(out, r->host);
	add_text(out, r->text);
	add_text(out, r->diagnostic);
	if (out->failed)
		return -1;
	put32(out->p + start, (uint32_t)(out->n - start));
	put32(out->p + start + 4,
	    sum_record(id, out->p + start, out->n - start));
	return 0;
}

int queue_log_append(int fd, struct str records, uint64_t *end)
{
	if (sys_pwrite_all(fd, records.p, records.n, (off_t)*end) < 0 ||
	    sys_fdatasync(fd) < 0)
		return -1;
	*end += records.n;
	return 0;
}

static int take_text(struct str *in, struct str *s_r)
{
	size_t n;

	if (in->n < 2)
		return -1;
	n = get16(in->p);
	if (n > in->n - 2 || n > QUEUE_LOG_TEXT_MAX)
		return -1;
	*s_r = str_n(in->p + 2, n);
	*in = str_from(*in, 2 + n);
	return 0;
}

/* A whole record at the front of `in`: its length; 0: none that is right. */
static size_t decode(uint64_t id, struct str in, struct queue_log_record *r)
{
	struct str rest;
	uint32_t n;

	if (in.n < FIXED)
		return 0;
	n = get32(in.p);
	if (n < FIXED || n > RECORD_MAX || n > in.n ||
	    get32(in.p + 4) != sum_record(id, in.p, n))
		return 0;
	r->recipient = get32(in.p + 8);
	r->what = get32(in.p + 12);
	r->when = (int64_t)get64(in.p + 16);
	rest = str_n(in.p + FIXED, n - FIXED);
	if (take_text(&rest, &r->status) < 0 || take_text(&rest, &r->host) < 0
	    || take_text(&rest, &r->text) < 0 ||
	    take_text(&rest, &r->diagnostic) < 0 || rest.n != 0 ||
	    r->what == 0 || r->what >= QUEUE_LOG_WHAT_END)
		return 0;
	return n;
}

int queue_log_read(int fd, const struct queue_header *h, queue_log_fn *fn,
    void *ctx, uint64_t *end_r)
{
	uint64_t at = h->log_offset;
	char *chunk = malloc(CHUNK);
	bool more = true;

	if (chunk == NULL)
		return -1;
	while (more && at - h->log_offset < QUEUE_LOG_MAX) {
		ssize_t k = sys_pread_full(fd, chunk, CHUNK, (off_t)at);
		struct queue_log_record r;
		size_t used = 0, n;

		if (k < 0) {
			free(chunk);
			return -1;
		}
		/* A chunk holds a whole record at least, when one follows. */
		while ((n = decode(h->id, str_n(chunk + used,
		    (size_t)k - used), &r)) > 0) {
			used += n;
			if (fn != NULL && fn(&r, ctx) != 0) {
				more = false;
				break;
			}
		}
		at += used;
		if (used == 0 || (size_t)k < CHUNK)
			more = false;
	}
	*end_r = at;
	free(chunk);
	return 0;
}
