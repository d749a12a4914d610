/* transfer.h - Content-Transfer-Encoding (RFC 2045 6), streaming, tolerant */
#ifndef MAIL_TRANSFER_H
#define MAIL_TRANSFER_H
#include "base/buf.h"

enum mail_encoding {
	MAIL_ENCODING_7BIT,	/* also: no field */
	MAIL_ENCODING_8BIT,
	MAIL_ENCODING_BINARY,
	MAIL_ENCODING_QUOTED,	/* quoted-printable */
	MAIL_ENCODING_BASE64,
	MAIL_ENCODING_UNKNOWN	/* RFC 2045 6.4: treat as octets */
};

/* From the field's body; comments are skipped. */
enum mail_encoding mail_encoding_of(struct str field_body);

/* The state between two pieces; all zero but the encoding at the start. */
struct mail_decoder {
	enum mail_encoding encoding;
	char held[80];		/* quoted-printable: "=4", white space */
	unsigned held_n;
	uint32_t bits;		/* base64 */
	unsigned bit_count;
	bool done;		/* base64: "=" was seen */
	bool broken;		/* something had to be guessed or skipped */
};

void mail_decoder_init(struct mail_decoder *, enum mail_encoding);
/*
 * Appends the decoded octets of this piece (cut anywhere). Tolerant: what is
 * not in base64's alphabet is skipped; "=" before anything but two digits
 * or a line end stays as it is; CRLF and LF stay what they are. Output is
 * never longer than in.n + 80. 0, or -1: out's limit.
 */
int mail_decode(struct mail_decoder *, struct str in, struct buf *out);
/* What was held back at the end of the body. */
int mail_decode_end(struct mail_decoder *, struct buf *out);
/* Lines of at most 76 octets, ended by CRLF. */
int mail_encode_base64(struct str in, struct buf *out);
int mail_encode_quoted(struct str in, struct buf *out);
#endif
