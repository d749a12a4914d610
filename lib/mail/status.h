/* status.h - enhanced status codes (RFC 3463, RFC 5248) */
#ifndef MAIL_STATUS_H
#define MAIL_STATUS_H
#include "base/buf.h"

/* class "." subject "." detail: 2, 4 or 5; 0 to 999 each. */
struct mail_status {
	uint8_t class;
	uint16_t subject, detail;
};

#define MAIL_STATUS(c, s, d) ((struct mail_status){ (c), (s), (d) })
#define MAIL_STATUS_NONE ((struct mail_status){ 0, 0, 0 })

/* What a server answers: basic code, enhanced code, text in US-ASCII. */
struct mail_refusal {
	int code;
	struct mail_status status;
	const char *text;	/* constant, never NULL */
};

/* The whole of s is a code: "5.1.1". 0 or -1. */
int mail_status_parse(struct str s, struct mail_status *status_r);
/* The whole of s is a code of that class: 2, 4 or 5. */
bool mail_status_has_class(struct str s, int class);
/*
 * Takes a code off the start of *text ("5.1.1 No such user" leaves "No such
 * user"). -1, *text untouched: there is none.
 */
int mail_status_take(struct str *text, struct mail_status *status_r);
/* The code's class fits the first digit of the reply code (RFC 2034 4). */
bool mail_status_fits(struct mail_status, int smtp_code);
/*
 * The code to report for a reply that carried none (or one that does not
 * fit): the nearest known meaning of the basic code, X.0.0 otherwise.
 * Codes outside 200..599 count as 5.5.2.
 */
struct mail_status mail_status_of_reply(int smtp_code);
/* The same with class 4 or 5 (2 stays). For soft_bounce and defer_if. */
struct mail_status mail_status_with_class(struct mail_status, int class);
int mail_status_append(struct buf *, struct mail_status);
/* "255.999.999" at most: out[12]. */
#define MAIL_STATUS_SIZE 12
const char *mail_status_print(struct mail_status, char out[MAIL_STATUS_SIZE]);
/* The registry's short text ("Bad destination mailbox address"), never
 * NULL; of an unknown detail that of the subject. */
const char *mail_status_text(struct mail_status);
#endif
