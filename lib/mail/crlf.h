/*
 * crlf.h - stored lines in wire form: CRLF ends, windows, dot-stuffing
 *
 * Two writers. crlf_window() gives octets [offset, offset+limit) of a
 * CRLF-normalised text: IMAP's partial fetch, POP3's exact sizes. The emitter
 * writes message content for SMTP, LMTP, POP3 and filters, in lines: whatever
 * its input holds, its output matches ^([^\r\n]*\r\n)*$ and ends with the
 * lone dot once.
 */
#ifndef MAIL_CRLF_H
#define MAIL_CRLF_H
#include "base/buf.h"

/* One walk over one or more pieces of text; zero-initialised, then set. */
struct crlf_window {
	uint64_t skip;		/* octets still to leave out */
	uint64_t left;		/* octets still to give; UINT64_MAX: all */
	bool keep_nul;		/* else NUL is given as 0x80 (RFC 3501 4.3) */
	bool after_cr;		/* the last octet taken was CR */
};

/* UINT64_MAX as limit: to the end. */
void crlf_window_init(struct crlf_window *, uint64_t offset, uint64_t limit);
/*
 * Takes octets from the front of *in, appends at most `room` octets (and
 * what out's limit allows) of the window to out. Returns 1 when *in is used
 * up or the window is full, 0 when there is more to do (out is full: flush
 * it and call again), -1 without memory. Only a bare LF is changed; a bare CR
 * stays (it is data in a stored message).
 */
int crlf_window_copy(struct crlf_window *, struct str *in, size_t room,
    struct buf *out);
static inline bool crlf_window_full(const struct crlf_window *w)
{
	return w->left == 0;
}

struct crlf_emitter {
	bool dots;		/* double a dot at the start of a line */
	size_t line_max;	/* octets of a line without CRLF after which
				 * CRLF SP is put in, never within a UTF-8
				 * character; 0: no limit */
	/* state */
	size_t column;		/* octets in this line */
	bool after_cr;
};

/* dots: SMTP DATA, LMTP, POP3. line_max: 998 for SMTP (RFC 5321
 * 4.5.3.1.6), 0 for none. */
void crlf_emitter_init(struct crlf_emitter *, bool dots, size_t line_max);
/* One line without its end. A CR, LF or CRLF inside it is a line end too.
 * Appends at most 3 * line.n + 3 octets. 0, or -1: out's limit. */
int crlf_emit_line(struct crlf_emitter *, struct str line, struct buf *out);
/* Stored content in pieces cut anywhere, with any of CRLF, LF, CR as line
 * ends. Same bound. */
int crlf_emit(struct crlf_emitter *, struct str piece, struct buf *out);
/* Ends an open line; with `dots` also writes "." CRLF. */
int crlf_emit_end(struct crlf_emitter *, struct buf *out);
#endif
