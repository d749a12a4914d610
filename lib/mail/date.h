/* date.h - dates of headers and of IMAP (RFC 5322 3.3 and 4.3, RFC 3501) */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H
#include "base/buf.h"

struct mail_date {
	int64_t time;		/* seconds since the epoch, UTC */
	int zone;		/* minutes east of UTC, -1439..1439 */
	bool zone_unknown;	/* "-0000", a military or unknown name */
};

/* Years that are represented; others are refused. */
#define MAIL_DATE_YEAR_MIN 1900
#define MAIL_DATE_YEAR_MAX 9999

/*
 * A Date: field's body: optional day name, comments, folds, two- and
 * three-digit years (RFC 5322 4.3), obsolete zones; no zone counts as
 * unknown, UTC. Second 60 is allowed. 0 or -1.
 */
int mail_date_parse(struct str, struct mail_date *date_r);
/* "Wed, 25 Nov 2026 19:44:57 +0100" */
int mail_date_append(struct buf *, int64_t time, int zone);
/* IMAP date-time without quotes: "17-Jul-1996 02:44:25 -0700" or with a
 * space for the day's first digit (RFC 3501 9, RFC 9051 9). 0 or -1. */
int mail_date_parse_imap(struct str, struct mail_date *date_r);
/* " 7-Jul-1996 02:44:25 -0700" (always 26 octets), without quotes. */
int mail_date_append_imap(struct buf *, int64_t time, int zone);
/*
 * IMAP date of SEARCH: "1-Feb-1994" (quotes already off). *day_r is a count
 * of days since the epoch, without a zone. 0 or -1.
 */
int mail_date_parse_day(struct str, int64_t *day_r);
/* Days since the epoch of the date as it stands in its own zone: what
 * SENTBEFORE and BEFORE compare (RFC 3501 6.4.4: disregarding zone). */
int64_t mail_date_day(const struct mail_date *);
/* Minutes east of UTC of this machine at that time. tzset() must have run
 * before a chroot. */
int mail_date_local_zone(int64_t time);
#endif
