/* date.c - dates of headers and of IMAP: what is printed reads back */
#include "fuzz.h"
#include "mail/date.h"

static void check_date(const struct mail_date *d)
{
	struct mail_date again;
	struct buf out;
	int64_t day;

	fuzz_check(d->zone > -1440 && d->zone < 1440, "zone %d", d->zone);
	if (d->time > INT64_C(253402214400))
		return;		/* the last day of 9999: printed as its start,
				 * so that no zone makes it five digits */
	buf_init(&out, 64);
	fuzz_check(mail_date_append(&out, d->time, d->zone) == 0, "print");
	fuzz_check(mail_date_parse(buf_str(&out), &again) == 0,
	    "not read again: %s", buf_cstr(&out));
	fuzz_check(again.time == d->time && again.zone == d->zone,
	    "there and back: %s", buf_cstr(&out));
	buf_reset(&out);
	fuzz_check(mail_date_append_imap(&out, d->time, d->zone) == 0 &&
	    out.n == 26, "print for IMAP");
	fuzz_check(mail_date_parse_imap(buf_str(&out), &again) == 0,
	    "not read again: %s", buf_cstr(&out));
	fuzz_check(again.time == d->time && again.zone == d->zone,
	    "there and back: %s", buf_cstr(&out));
	/* The day it stands for, as SEARCH would write it. */
	out.n = 11;
	if (out.p[0] == ' ')
		buf_consume(&out, 1);
	fuzz_check(mail_date_parse_day(buf_str(&out), &day) == 0 &&
	    day == mail_date_day(d), "the day of %s", buf_cstr(&out));
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str s = fuzz_exact(str_n(p, n));
	struct mail_date d;
	int64_t day;

	fuzz_budget_start();
	if (mail_date_parse(s, &d) == 0)
		check_date(&d);
	if (mail_date_parse_imap(s, &d) == 0) {
		fuzz_check(n == 26, "%zu octets", n);
		check_date(&d);
	}
	if (mail_date_parse_day(s, &day) == 0)
		fuzz_check(n == 10 || n == 11, "%zu octets", n);
	fuzz_check_steps(100, n, 5000);
	fuzz_end();
	return 0;
}
