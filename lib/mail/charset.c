#include <errno.h>
#include <iconv.h>
#include <pthread.h>
#include "mail/charset.h"
#include "mail/charset_tables.h"

enum kind { KIND_ASCII, KIND_UTF8, KIND_TABLE, KIND_ICONV, KIND_UTF16 };

struct mail_charset {
	const char *name;
	enum kind kind;
	const uint16_t *high;		/* KIND_TABLE */
	const char *iconv_name;		/* KIND_ICONV */
	unsigned slot;
};

static const struct mail_charset ascii = { "us-ascii", KIND_ASCII, NULL, NULL,
    0 };
static const struct mail_charset utf8 = { "utf-8", KIND_UTF8, NULL, NULL, 0 };
const struct mail_charset *const mail_charset_ascii = &ascii;
const struct mail_charset *const mail_charset_utf8 = &utf8;

/*
 * The larger set is used where mail in practice is labelled with the
 * smaller: what the smaller defines is the same in both.
 */
static const struct mail_charset multi[] = {
	{ "gb2312", KIND_ICONV, NULL, "GB18030", 0 },
	{ "big5", KIND_ICONV, NULL, "BIG5-HKSCS", 1 },
	{ "iso-2022-jp", KIND_ICONV, NULL, "ISO-2022-JP-2", 2 },
	{ "euc-jp", KIND_ICONV, NULL, "EUC-JP-MS", 3 },
	{ "euc-kr", KIND_ICONV, NULL, "CP949", 4 },
	{ "shift_jis", KIND_ICONV, NULL, "CP932", 5 },
	{ "iso-2022-kr", KIND_ICONV, NULL, "ISO-2022-KR", 6 },
	{ "utf-16be", KIND_ICONV, NULL, "UTF-16BE", 7 },
	{ "utf-16le", KIND_ICONV, NULL, "UTF-16LE", 8 },
	/*
	 * What its first octets say (mail_charset_of_text()). Not the C
	 * library's UTF-16: once it has met a mark of the other order it
	 * stays with that order for all later texts.
	 */
	{ "utf-16", KIND_UTF16, NULL, "UTF-16BE", 9 },
};
#define UTF16BE (&multi[7])
#define UTF16LE (&multi[8])
#define MULTI_COUNT (sizeof(multi) / sizeof(multi[0]))

/* Opened once before threads; each descriptor has a conversion state and so
 * a lock. */
static struct {
	iconv_t cd;
	bool open;
	pthread_mutex_t lock;
} opened[MULTI_COUNT];

static const struct {
	const char *alias, *name;
} aliases[] = {
	{ "ascii", "us-ascii" }, { "ansi_x3.4-1968", "us-ascii" },
	{ "iso646-us", "us-ascii" }, { "us", "us-ascii" },
	{ "utf8", "utf-8" }, { "unicode-1-1-utf-8", "utf-8" },
	{ "utf-8-mac", "utf-8" },
	/* 0x80..0x9f are C1 controls in ISO 8859-1 and -9; mail that has
	 * them means the Windows set */
	{ "iso-8859-1", "windows-1252" }, { "iso8859-1", "windows-1252" },
	{ "iso_8859-1", "windows-1252" }, { "latin1", "windows-1252" },
	{ "cp1252", "windows-1252" }, { "l1", "windows-1252" },
	{ "iso-8859-12", "windows-1252" },
	{ "iso8859-2", "iso-8859-2" }, { "latin2", "iso-8859-2" },
	{ "iso8859-5", "iso-8859-5" }, { "iso8859-7", "iso-8859-7" },
	{ "iso-8859-8-i", "iso-8859-8" }, { "iso-8859-6-i", "iso-8859-6" },
	{ "windows-1254", "iso-8859-9" }, { "cp1254", "iso-8859-9" },
	{ "iso8859-9", "iso-8859-9" }, { "latin5", "iso-8859-9" },
	{ "tis-620", "iso-8859-11" }, { "windows-874", "iso-8859-11" },
	{ "iso8859-15", "iso-8859-15" }, { "latin9", "iso-8859-15" },
	{ "latin-9", "iso-8859-15" },
	{ "cp1250", "windows-1250" }, { "cp1251", "windows-1251" },
	{ "cp1253", "windows-1253" }, { "cp1255", "windows-1255" },
	{ "cp1256", "windows-1256" }, { "cp1257", "windows-1257" },
	{ "cp1258", "windows-1258" }, { "koi8r", "koi8-r" },
	{ "koi8u", "koi8-u" }, { "koi8-ru", "koi8-u" },
	{ "cp437", "ibm437" }, { "cp850", "ibm850" }, { "cp852", "ibm852" },
	{ "cp866", "ibm866" }, { "mac", "macintosh" },
	{ "macroman", "macintosh" }, { "x-mac-roman", "macintosh" },
	{ "gbk", "gb2312" }, { "gb18030", "gb2312" }, { "cp936", "gb2312" },
	{ "x-gbk", "gb2312" }, { "gb_2312-80", "gb2312" },
	{ "euc-cn", "gb2312" }, { "cn-gb", "gb2312" },
	{ "windows-936", "gb2312" },
	{ "cp950", "big5" }, { "big5-hkscs", "big5" }, { "cn-big5", "big5" },
	{ "iso-2022-jp-1", "iso-2022-jp" }, { "iso-2022-jp-2", "iso-2022-jp" },
	{ "iso-2022-jp-3", "iso-2022-jp" }, { "csiso2022jp", "iso-2022-jp" },
	{ "eucjp", "euc-jp" }, { "x-euc-jp", "euc-jp" },
	{ "cp51932", "euc-jp" },
	{ "ks_c_5601-1987", "euc-kr" }, { "ks_c_5601", "euc-kr" },
	{ "ksc5601", "euc-kr" }, { "euckr", "euc-kr" }, { "cp949", "euc-kr" },
	{ "uhc", "euc-kr" }, { "windows-949", "euc-kr" },
	{ "shift-jis", "shift_jis" }, { "sjis", "shift_jis" },
	{ "x-sjis", "shift_jis" }, { "cp932", "shift_jis" },
	{ "windows-31j", "shift_jis" }, { "ms_kanji", "shift_jis" },
};

#define TABLES_MAX 40
static struct mail_charset tables[TABLES_MAX];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void list_tables(void)
{
	for (unsigned i = 0; i < charset_table_count && i < TABLES_MAX; i++)
		tables[i] = (struct mail_charset){ charset_tables[i].name,
		    KIND_TABLE, charset_tables[i].high, NULL, 0 };
}

int mail_charset_open_all(void)
{
	int missing = 0;

	for (size_t i = 0; i < MULTI_COUNT; i++) {
		if (opened[i].open)
			continue;
		pthread_mutex_init(&opened[i].lock, NULL);
		opened[i].cd = iconv_open("UTF-8", multi[i].iconv_name);
		opened[i].open = opened[i].cd != (iconv_t)-1;
		missing += !opened[i].open;
	}
	return missing;
}

static const struct mail_charset *find_name(struct str name)
{
	pthread_once(&tables_once, list_tables);
	if (str_eq_nocase_c(name, ascii.name))
		return &ascii;
	if (str_eq_nocase_c(name, utf8.name))
		return &utf8;
	for (unsigned i = 0; i < charset_table_count && i < TABLES_MAX; i++)
		if (str_eq_nocase_c(name, tables[i].name))
			return &tables[i];
	for (size_t i = 0; i < MULTI_COUNT; i++)
		if (str_eq_nocase_c(name, multi[i].name))
			return opened[i].open ? &multi[i] : NULL;
	return NULL;
}

const struct mail_charset *mail_charset_find(struct str name)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (str_eq_nocase_c(name, aliases[i].alias))
			return find_name(str_of(aliases[i].name));
	return find_name(name);
}

const char *mail_charset_name(const struct mail_charset *charset)
{
	return charset->name;
}

/* The octets of a valid character cut short at the end of s, or 0. */
static size_t cut_character(struct str s)
{
	for (size_t n = 1; n <= 3 && n <= s.n; n++) {
		unsigned char c = (unsigned char)s.p[s.n - n];

		if (c >= 0xc2 && c < 0xf5)
			return n < (c < 0xe0 ? 2u : c < 0xf0 ? 3u : 4u) ? n :
			    0;
		if ((c & 0xc0) != 0x80)
			return 0;
	}
	return 0;
}

static ssize_t convert_utf8(struct str in, bool more, struct buf *out)
{
	size_t cut = more ? cut_character(in) : 0, at = 0, n;

	in.n -= cut;
	while (at < in.n) {
		size_t good = at;

		while (good < in.n) {
			if ((unsigned char)in.p[good] < 0x80) {
				good++;
				continue;
			}
			if (mail_utf8_next(str_from(in, good), &n) == -1)
				break;
			good += n;
		}
		buf_append_n(out, in.p + at, good - at);
		at = good;
		if (at < in.n) {
			mail_utf8_append(out, 0xfffd);
			at++;
		}
	}
	return out->failed ? -1 : (ssize_t)in.n;
}

static ssize_t convert_table(const uint16_t *high, struct str in,
    struct buf *out)
{
	for (size_t i = 0; i < in.n;) {
		size_t run = i;

		while (run < in.n && (unsigned char)in.p[run] < 0x80)
			run++;
		buf_append_n(out, in.p + i, run - i);
		for (i = run; i < in.n && (unsigned char)in.p[i] >= 0x80; i++) {
			uint32_t code = high ?
			    high[(unsigned char)in.p[i] - 0x80] : 0;

			mail_utf8_append(out, code ? code : 0xfffd);
		}
	}
	return out->failed ? -1 : (ssize_t)in.n;
}

static ssize_t convert_iconv(iconv_t cd, struct str in, bool more,
    struct buf *out)
{
	char piece[2048], *from = (char *)(uintptr_t)in.p;
	size_t left = in.n;

	iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0 && !out->failed) {
		char *to = piece;
		size_t room = sizeof(piece);
		size_t r = iconv(cd, &from, &left, &to, &room);
		int error = errno;

		buf_append_n(out, piece, sizeof(piece) - room);
		if (r != (size_t)-1 || error == E2BIG)
			continue;
		if (error == EINVAL && more)
			break;
		mail_utf8_append(out, 0xfffd);
		if (error == EINVAL) {
			left = 0;
			break;
		}
		from++;
		left--;
	}
	if (!out->failed) {
		/* Some converters hold a character that may yet combine. */
		char *to = piece;
		size_t room = sizeof(piece);

		iconv(cd, NULL, NULL, &to, &room);
		buf_append_n(out, piece, sizeof(piece) - room);
	}
	return out->failed ? -1 : (ssize_t)(in.n - left);
}

/* RFC 2781 4.3 */
const struct mail_charset *mail_charset_of_text(
    const struct mail_charset *charset, struct str start)
{
	if (charset->kind != KIND_UTF16)
		return charset;
	return str_starts(start, STR("\xff\xfe")) ? UTF16LE : UTF16BE;
}

/* A text from its first octet on, without the mark. */
static ssize_t convert_utf16(const struct mail_charset *charset,
    struct str in, bool more, struct buf *out)
{
	size_t mark = str_starts(in, STR("\xff\xfe")) ||
	    str_starts(in, STR("\xfe\xff")) ? 2 : 0;
	ssize_t r;

	if (in.n < 2 && more)
		return 0;
	r = mail_charset_convert(mail_charset_of_text(charset, in),
	    str_from(in, mark), more, out);
	return r == -1 ? -1 : r + (ssize_t)mark;
}

ssize_t mail_charset_convert(const struct mail_charset *charset, struct str in,
    bool more, struct buf *out)
{
	ssize_t r;

	if (in.n == 0)
		return 0;
	if (charset->kind == KIND_UTF16)
		return convert_utf16(charset, in, more, out);
	if (charset->kind == KIND_UTF8)
		return convert_utf8(in, more, out);
	if (charset->kind != KIND_ICONV)
		return convert_table(charset->high, in, out);
	pthread_mutex_lock(&opened[charset->slot].lock);
	r = convert_iconv(opened[charset->slot].cd, in, more, out);
	pthread_mutex_unlock(&opened[charset->slot].lock);
	return r;
}

int mail_charset_to_utf8(const struct mail_charset *charset, struct str in,
    struct buf *out)
{
	return mail_charset_convert(charset, in, false, out) == -1 ? -1 : 0;
}
