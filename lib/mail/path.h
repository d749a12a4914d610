/*
 * path.h - the one parser of SMTP paths, and ESMTP parameters
 * (RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3, RFC 3461 4)
 *
 * An address inside the suite is two views: `local`, the local-part's
 * octets without quoting, and `domain`. Where it is one string (queue
 * records, log keys, table keys), that is local "@" domain with no quoting
 * added, and it is split at its last "@" (mail_path_split()).
 */
#ifndef MAIL_PATH_H
#define MAIL_PATH_H
#include "base/arena.h"
#include "base/buf.h"
#include "mail/status.h"

/* RFC 5321 4.5.3.1.1 to 4.5.3.1.3: octets. Of a path with its brackets and
 * without its source route; of a local-part without quoting. */
#define MAIL_LOCAL_MAX 64
#define MAIL_DOMAIN_MAX 255
#define MAIL_PATH_MAX 256
#define MAIL_LABEL_MAX 63
/* Tolerated beyond the standard when MAIL_PATH_LONG is set. */
#define MAIL_LOCAL_LONG_MAX 255
#define MAIL_PATH_LONG_MAX 520

/* What was seen (struct mail_path.flags). */
#define MAIL_PATH_NULL (1u << 0)	/* <> : local and domain are empty */
#define MAIL_PATH_QUOTED (1u << 1)	/* the local-part was quoted */
#define MAIL_PATH_ROUTE (1u << 2)	/* a source route was left out */
#define MAIL_PATH_LITERAL4 (1u << 3)	/* domain is [1.2.3.4] */
#define MAIL_PATH_LITERAL6 (1u << 4)	/* domain is [IPv6:...] */
#define MAIL_PATH_NO_DOMAIN (1u << 5)	/* <postmaster>, or as allowed */
#define MAIL_PATH_UTF8 (1u << 6)	/* has octets above 127 (RFC 6531) */
#define MAIL_PATH_LITERAL (MAIL_PATH_LITERAL4 | MAIL_PATH_LITERAL6)

struct mail_path {
	/* Case as given, NUL behind the last octet. No control octets. */
	struct str local;
	/*
	 * Case as given, one trailing dot removed; a literal with its
	 * brackets. Empty with MAIL_PATH_NULL and MAIL_PATH_NO_DOMAIN.
	 */
	struct str domain;
	unsigned flags;
	/* network order; IPv4 in the first 4 octets. With PATH_LITERAL only */
	unsigned char literal[16];
};

/* What to allow. */
#define MAIL_PATH_SENDER (1u << 0)	/* allow <>, refuse with 5.1.7 */
#define MAIL_PATH_SMTPUTF8 (1u << 1)	/* RFC 6531: UTF-8 is allowed */
#define MAIL_PATH_BARE (1u << 2)	/* also without <> (not strict) */
#define MAIL_PATH_SPACE (1u << 3)	/* also spaces before "<" */
#define MAIL_PATH_ANY_LOCAL (1u << 4)	/* any local-part may lack a domain */
#define MAIL_PATH_LONG (1u << 5)	/* the LONG limits above */

/*
 * Parses the path at the start of *rest ("<user@example.com> SIZE=1") and
 * leaves *rest behind it. `postmaster` needs no domain as a recipient
 * (RFC 5321 4.5.1). local and domain live in the arena. 0, or -1 with *why_r
 * set to the reply: 501 5.1.3 (5.1.7 for a sender), 553 5.6.7 for UTF-8 that
 * was not announced, 501 5.5.4 for missing brackets, 452 4.3.1 without
 * memory.
 */
int mail_path_parse(struct str *rest, unsigned options, struct arena *,
    struct mail_path *path_r, struct mail_refusal *why_r);
/* The same for a whole string without brackets: "user@example.com". */
int mail_path_parse_mailbox(struct str, unsigned options, struct arena *,
    struct mail_path *path_r, struct mail_refusal *why_r);

/* RFC 5321 2.3.5 Domain (U-labels with utf8): at most 255 octets, labels 1
 * to 63 octets, no hyphen at their ends. No trailing dot. */
bool mail_domain_is_valid(struct str, bool utf8);
/*
 * [1.2.3.4] or [IPv6:...], whole, with brackets: fills address (IPv4 in the
 * first 4 octets) and returns 4 or 6; -1 if it is none.
 */
int mail_literal_parse(struct str, unsigned char address_r[16]);

/* Appends local@domain, the local-part quoted where it needs to be (what
 * mail_path_parse_mailbox() reads back to the same octets). */
int mail_path_append(struct buf *, struct str local, struct str domain);
/* Appends <local@domain>, or <> when both are empty. */
int mail_path_append_angle(struct buf *, struct str local, struct str domain);
/* Splits "local@domain" (unquoted form) at its last "@"; without "@" the
 * domain is empty. Views into address. */
void mail_path_split(struct str address, struct str *local_r,
    struct str *domain_r);
/* Appends the local-part alone, quoted where needed. */
int mail_local_append(struct buf *, struct str local);

/* RFC 5321 4.1.2 Mail-parameters / Rcpt-parameters. */
#define MAIL_PARAMS_MAX 20

struct mail_param {
	struct str key;		/* as given; compare without case */
	struct str value;	/* p is NULL when there was no "=" */
};

struct mail_params {
	unsigned count;
	struct mail_param items[MAIL_PARAMS_MAX];
};

/*
 * Parses what stands behind the path: "" or SP KEY[=VALUE] ... Views into
 * text. 0, or -1 with *why_r: 501 5.5.4 for bad syntax or a repeated key,
 * 555 5.5.4 for more than MAIL_PARAMS_MAX.
 */
int mail_params_parse(struct str text, bool utf8, struct mail_params *,
    struct mail_refusal *why_r);
/* By key without case, or NULL. */
const struct mail_param *mail_params_find(const struct mail_params *,
    const char *key);

/* RFC 3461 4: "+3D" for what is not printable, "+" or "=". */
int mail_xtext_encode(struct str, struct buf *);
/*
 * Appends the decoded octets. -1: bad syntax, an octet that is not printable
 * US-ASCII or space after decoding (so no CR, LF, NUL), or the buffer's
 * limit; *out is as before.
 */
int mail_xtext_decode(struct str, struct buf *out);
/*
 * The value of ORCPT=: type ";" address, decoded (RFC 3461 4.2; with utf8
 * also utf-8;... of RFC 6533 3). Both live in the arena; printable, no line
 * ends. 0 or -1.
 */
int mail_orcpt_parse(struct str value, bool utf8, struct arena *,
    struct str *type_r, struct str *address_r);
#endif
