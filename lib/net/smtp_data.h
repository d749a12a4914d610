/*
 * smtp_data.h - the content after DATA, off the wire
 *
 * A DFA over raw octets. Only CR LF . CR LF ends the content (RFC 5321
 * 4.1.1.4), whatever stands around it; the dot that begins any other line is
 * removed (4.5.2). What a CR or LF outside of CR LF means is the caller's
 * decision (2.3.8): it comes as an event of its own, never in a span, so that
 * it cannot be stored by accident. The result does not depend on how the
 * octets were cut into chunks.
 */
#ifndef NET_SMTP_DATA_H
#define NET_SMTP_DATA_H
#include "net/stream.h"

enum smtp_data_event {
	SMTP_DATA_MORE,		/* the chunk is used up */
	SMTP_DATA_SPAN,		/* octets; CR and LF only as CR LF */
	SMTP_DATA_BARE_CR,	/* here stood a CR without LF */
	SMTP_DATA_BARE_LF,	/* here stood an LF without CR */
	SMTP_DATA_END		/* the rest of the chunk is the next command */
};

struct smtp_data {
	int state;
};

void smtp_data_init(struct smtp_data *);
/*
 * Takes from *in and tells one thing. A span is a view into the chunk or into
 * static memory, as long as clean content reaches (usually the whole chunk;
 * it need not end at a line's end). Spans in order, with what the caller puts
 * for bare ones, are the content, which is empty or ends with CR LF.
 */
enum smtp_data_event smtp_data_next(struct smtp_data *, struct str *in,
    struct str *span_r);
/* The same from a stream: never gives MORE. *result_r is not STREAM_OK when
 * the connection failed (the return value means nothing then). After END
 * the stream stands behind the terminator. A span is valid until the next
 * call. */
enum smtp_data_event smtp_data_read(struct smtp_data *, struct stream *,
    struct str *span_r, enum stream_result *result_r);

/*
 * The way out: the one emitter of dot-stuffed content. Feeds content in wire
 * form (CR LF ends) in any pieces to the stream; a bare CR or LF in it
 * becomes CR LF, so that it can never leave. smtp_data_finish() ends an
 * unfinished line and sends the terminating dot. 0 or -1 (stream failed).
 */
struct smtp_data_out {
	int state;
};

void smtp_data_out_init(struct smtp_data_out *);
int smtp_data_write(struct smtp_data_out *, struct stream *, struct str);
int smtp_data_finish(struct smtp_data_out *, struct stream *);
#endif
