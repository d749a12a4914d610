#include <stdio.h>
#include <time.h>
#include "mail/date.h"

static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
	"Nov", "Dec"
};
static const char days[7][4] = {
	"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"
};

struct civil {
	int year, month, day, hour, minute, second;	/* month 1..12 */
};

/* Days since 1970-01-01 of a date of the Gregorian calendar: whole 400-year
 * eras, years counted from March so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 +
	    day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	    of_year - 719468;
}

static void civil_of(int64_t time, struct civil *c)
{
	int64_t day = time / 86400, rest = time % 86400;
	int64_t era, of_era, year, of_year, m;

	if (rest < 0) {
		rest += 86400;
		day--;
	}
	day += 719468;
	era = (day >= 0 ? day : day - 146096) / 146097;
	of_era = day - era * 146097;
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
	    365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	m = (5 * of_year + 2) / 153;
	c->day = (int)(of_year - (153 * m + 2) / 5 + 1);
	c->month = (int)(m < 10 ? m + 3 : m - 9);
	c->year = (int)(year + era * 400 + (c->month <= 2));
	c->hour = (int)(rest / 3600);
	c->minute = (int)(rest / 60 % 60);
	c->second = (int)(rest % 60);
}

static bool is_valid(const struct civil *c)
{
	static const int length[12] = {
		31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
	};
	bool leap = (c->year % 4 == 0 && c->year % 100 != 0) ||
	    c->year % 400 == 0;

	if (c->year < MAIL_DATE_YEAR_MIN || c->year > MAIL_DATE_YEAR_MAX ||
	    c->month < 1 || c->month > 12 || c->day < 1 ||
	    c->day > length[c->month - 1] ||
	    (c->month == 2 && c->day == 29 && !leap))
		return false;
	/* RFC 5322 3.3: second 60 for a leap second */
	return c->hour <= 23 && c->minute <= 59 && c->second <= 60;
}

static int64_t time_of(const struct civil *c, int zone)
{
	return days_of(c->year, c->month, c->day) * 86400 + c->hour * 3600 +
	    c->minute * 60 + c->second - (int64_t)zone * 60;
}

static int find_name(struct str s, const char (*names)[4], int count)
{
	for (int i = 0; i < count; i++)
		if (s.n >= 3 && str_starts_nocase(s, str_of(names[i])))
			return i;
	return -1;
}

/* Comments, white space, folds (RFC 5322 3.2.2); any depth, no recursion. */
static void skip_cfws(struct str *s)
{
	size_t i = 0;
	unsigned depth = 0;

	for (; i < s->n; i++) {
		char c = s->p[i];

		if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth > 0 && c == '\\')
			i++;
		else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' &&
		    c != '\n')
			break;
	}
	*s = str_from(*s, i);
}

/* Digits: how many, 0 when there are none, -1 when more than 9. */
static int take_digits(struct str *s, int *value_r)
{
	size_t n = 0;
	int v = 0;

	while (n < s->n && ascii_is_digit(s->p[n])) {
		if (n == 9)
			return -1;
		v = v * 10 + (s->p[n++] - '0');
	}
	*s = str_from(*s, n);
	*value_r = v;
	return (int)n;
}

static struct str take_word(struct str *s)
{
	struct str word = *s;
	size_t n = 0;

	while (n < s->n && ascii_is_alpha(s->p[n]))
		n++;
	word.n = n;
	*s = str_from(*s, n);
	return word;
}

static bool take_char(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_from(*s, 1);
	return true;
}

static int take_year(struct str *s, struct civil *c)
{
	int n;

	skip_cfws(s);
	n = take_digits(s, &c->year);
	/* RFC 5322 4.3: two digits 00..49 are 20xx, 50..99 and three digits
	 * count from 1900 */
	if (n == 2)
		c->year += c->year < 50 ? 2000 : 1900;
	else if (n == 3)
		c->year += 1900;
	return n >= 2 ? 0 : -1;
}

static int take_month(struct str *s, struct civil *c)
{
	skip_cfws(s);
	c->month = find_name(take_word(s), months, 12) + 1;
	return c->month > 0 ? 0 : -1;
}

static int take_time(struct str *s, struct civil *c)
{
	skip_cfws(s);
	if (take_digits(s, &c->hour) <= 0)
		return -1;
	skip_cfws(s);
	if (!take_char(s, ':'))
		return -1;
	skip_cfws(s);
	if (take_digits(s, &c->minute) <= 0)
		return -1;
	skip_cfws(s);
	if (!take_char(s, ':'))
		return 0;
	skip_cfws(s);
	return take_digits(s, &c->second) > 0 ? 0 : -1;
}

static void set_zone(struct mail_date *d, int sign, int hours, int minutes)
{
	if (hours > 23 || minutes > 59) {
		d->zone_unknown = true;
		return;
	}
	d->zone = sign * (hours * 60 + minutes);
	/* RFC 5322 3.3: "-0000" says nothing about the local zone */
	d->zone_unknown = sign < 0 && d->zone == 0;
}

static void take_zone(struct str *s, struct mail_date *d)
{
	/* RFC 5322 4.3 */
	static const struct {
		const char *name;
		int hours;
	} names[] = {
		{ "UT", 0 }, { "GMT", 0 }, { "UTC", 0 }, { "EDT", -4 },
		{ "EST", -5 }, { "CDT", -5 }, { "CST", -6 }, { "MDT", -6 },
		{ "MST", -7 }, { "PDT", -7 }, { "PST", -8 },
	};
	int sign, value, n, minutes = 0;
	struct str word;

	skip_cfws(s);
	d->zone_unknown = true;
	if (s->n > 0 && (s->p[0] == '+' || s->p[0] == '-')) {
		sign = s->p[0] == '-' ? -1 : 1;
		*s = str_from(*s, 1);
		n = take_digits(s, &value);
		if (n == 2 && take_char(s, ':') &&
		    take_digits(s, &minutes) == 2)
			set_zone(d, sign, value, minutes);
		else if (n == 4)
			set_zone(d, sign, value / 100, value % 100);
		return;
	}
	word = take_word(s);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase_c(word, names[i].name))
			set_zone(d, names[i].hours < 0 ? -1 : 1,
			    names[i].hours < 0 ? -names[i].hours : 0, 0);
}

int mail_date_parse(struct str s, struct mail_date *date_r)
{
	struct mail_date d = { .zone = 0 };
	struct civil c = { .year = 0 };
	struct str word;

	skip_cfws(&s);
	word = take_word(&s);
	if (word.n > 0 && find_name(word, months, 12) == -1) {
		if (find_name(word, days, 7) == -1)
			return -1;
		skip_cfws(&s);
		take_char(&s, ',');
		skip_cfws(&s);
		word = take_word(&s);
	}
	if (word.n > 0) {
		/* "Thu Jan  1 00:00:00 [zone] 2026", as ctime(3) writes */
		if ((c.month = find_name(word, months, 12) + 1) == 0)
			return -1;
		skip_cfws(&s);
		if (take_digits(&s, &c.day) <= 0 || take_time(&s, &c) == -1)
			return -1;
		skip_cfws(&s);
		d.zone_unknown = true;
		if (s.n > 0 && !ascii_is_digit(s.p[0]))
			take_zone(&s, &d);
		if (take_year(&s, &c) == -1)
			return -1;
	} else {
		if (take_digits(&s, &c.day) <= 0)
			return -1;
		take_char(&s, '-');
		if (take_month(&s, &c) == -1)
			return -1;
		take_char(&s, '-');
		if (take_year(&s, &c) == -1 || take_time(&s, &c) == -1)
			return -1;
		take_zone(&s, &d);
	}
	if (!is_valid(&c))
		return -1;
	d.time = time_of(&c, d.zone);
	*date_r = d;
	return 0;
}

static void split_time(int64_t time, int *zone, struct civil *c, int *wday)
{
	/* Years 1 to 9999, so that what is written has a fixed shape. */
	const int64_t first = -INT64_C(62135510400);
	const int64_t last = INT64_C(253402214400);
	int64_t day;

	if (*zone < -1439 || *zone > 1439)
		*zone = 0;
	time = time < first ? first : time > last ? last : time;
	time += (int64_t)*zone * 60;
	civil_of(time, c);
	day = days_of(c->year, c->month, c->day);
	*wday = (int)(((day + 4) % 7 + 7) % 7);	/* 1970-01-01: Thursday */
}

int mail_date_append(struct buf *b, int64_t time, int zone)
{
	struct civil c;
	int wday, z;

	split_time(time, &zone, &c, &wday);
	z = zone < 0 ? -zone : zone;
	return buf_printf(b, "%s, %d %s %04d %02d:%02d:%02d %c%02d%02d",
	    days[wday], c.day, months[c.month - 1], c.year, c.hour, c.minute,
	    c.second, zone < 0 ? '-' : '+', z / 60, z % 60);
}

static char *put_two(char *p, int v)
{
	*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

/* By hand: FETCH and the like ask it for every message of a mailbox. */
int mail_date_append_imap(struct buf *b, int64_t time, int zone)
{
	char *p = buf_reserve(b, 26);
	struct civil c;
	int wday, z;

	if (p == NULL)
		return -1;
	split_time(time, &zone, &c, &wday);
	z = zone < 0 ? -zone : zone;
	put_two(p, c.day);
	if (c.day < 10)
		p[0] = ' ';
	p[2] = '-';
	memcpy(p + 3, months[c.month - 1], 3);
	p[6] = '-';
	put_two(put_two(p + 7, c.year / 100), c.year % 100);
	p[11] = ' ';
	put_two(p + 12, c.hour)[0] = ':';
	put_two(p + 15, c.minute)[0] = ':';
	put_two(p + 18, c.second)[0] = ' ';
	p[21] = zone < 0 ? '-' : '+';
	put_two(put_two(p + 22, z / 60), z % 60);
	buf_added(b, 26);
	return 0;
}

/* RFC 3501 9 date-text: day "-" month "-" 4 digits. */
static int take_imap_day(struct str *s, struct civil *c, int day_min,
    int day_max)
{
	int n = take_digits(s, &c->day);

	if (n < day_min || n > day_max || !take_char(s, '-'))
		return -1;
	if (s->n < 4 || s->p[3] != '-')
		return -1;
	c->month = find_name(str_sub(*s, 0, 3), months, 12) + 1;
	*s = str_from(*s, 4);
	return c->month > 0 && take_digits(s, &c->year) == 4 ? 0 : -1;
}

int mail_date_parse_imap(struct str s, struct mail_date *date_r)
{
	struct mail_date d = { .zone = 0 };
	struct civil c = { .year = 0 };
	bool space = take_char(&s, ' ');
	int sign, zone;

	/* RFC 3501 9 date-day-fixed: (SP DIGIT) / 2DIGIT */
	if (take_imap_day(&s, &c, space ? 1 : 2, space ? 1 : 2) == -1 ||
	    !take_char(&s, ' '))
		return -1;
	if (take_digits(&s, &c.hour) != 2 || !take_char(&s, ':') ||
	    take_digits(&s, &c.minute) != 2 || !take_char(&s, ':') ||
	    take_digits(&s, &c.second) != 2 || !take_char(&s, ' '))
		return -1;
	sign = s.n > 0 && s.p[0] == '-' ? -1 : 1;
	if (!take_char(&s, sign < 0 ? '-' : '+') ||
	    take_digits(&s, &zone) != 4 || s.n != 0 || zone / 100 > 23 ||
	    zone % 100 > 59 || !is_valid(&c))
		return -1;
	set_zone(&d, sign, zone / 100, zone % 100);
	d.time = time_of(&c, d.zone);
	*date_r = d;
	return 0;
}

int mail_date_parse_day(struct str s, int64_t *day_r)
{
	struct civil c = { .year = 0 };

	if (take_imap_day(&s, &c, 1, 2) == -1 || s.n != 0 || !is_valid(&c))
		return -1;
	*day_r = days_of(c.year, c.month, c.day);
	return 0;
}

int64_t mail_date_day(const struct mail_date *d)
{
	int64_t t = d->time + (int64_t)d->zone * 60;

	return t >= 0 ? t / 86400 : -((-t + 86399) / 86400);
}

int mail_date_local_zone(int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL)
		return 0;
	return (int)(tm.tm_gmtoff / 60);
}
