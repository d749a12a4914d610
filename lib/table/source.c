#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "config/lines.h"
#include "table/source.h"
#include "table/table.h"

/*
 * "quoted key" in front: without its quotes and backslashes, into *key.
 * False when it does not end.
 */
static bool take_quoted(struct str *line, struct buf *key)
{
	size_t i;

	for (i = 1; i < line->n && line->p[i] != '"'; i++) {
		if (line->p[i] == '\\' && i + 1 < line->n)
			i++;
		buf_append_char(key, line->p[i]);
	}
	if (i >= line->n)
		return false;
	*line = str_from(*line, i + 1);
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* NULL, or why the line is no entry. */
static const char *split_map(struct str line, struct buf *key,
    struct str *value)
{
	size_t n = 0;

	if (line.n > 0 && *line.p == '"') {
		if (!take_quoted(&line, key))
			return "the \" is not closed";
	} else {
		while (n < line.n && !is_space(line.p[n]))
			n++;
		buf_append(key, str_sub(line, 0, n));
		line = str_from(line, n);
	}
	*value = str_trim(line);
	if (key->n == 0)
		return "there is no key";
	if (value->n == 0)
		return "want: key, white space, value";
	if (key->p[key->n - 1] == ':' && str_chr(buf_str(key), ':') ==
	    (ssize_t)key->n - 1)
		return "\"key: value\" is the form of aliases: use postalias";
	return NULL;
}

static const char *split_alias(struct str line, struct buf *key,
    struct str *value)
{
	ssize_t colon;
	struct str name;

	if (*line.p == '"') {
		if (!take_quoted(&line, key))
			return "the \" is not closed";
		line = str_trim(line);
		if (line.n == 0 || *line.p != ':')
			return "want: \"name\": value";
		colon = 0;
	} else {
		if ((colon = str_chr(line, ':')) < 0)
			return "want: name: value";
		name = str_trim(str_sub(line, 0, (size_t)colon));
		if (str_chr(name, '@') >= 0)
			return "a name in aliases has no domain";
		for (size_t i = 0; i < name.n; i++)
			if (is_space(name.p[i]))
				return "a name with spaces stands in \"\"";
		buf_append(key, name);
	}
	*value = str_trim(str_from(line, (size_t)colon + 1));
	if (key->n == 0)
		return "there is no name";
	return value->n == 0 ? "there is no value" : NULL;
}

int table_source_read(struct str text, enum table_source form,
    table_entry_fn *entry, table_trouble_fn *trouble, void *ctx)
{
	struct lines lines;
	struct buf key;
	struct str line, value;
	const char *why;
	unsigned number;
	int ret = 0, bad = 0, got;

	lines_init(&lines, text, TABLE_VALUE_MAX + TABLE_KEY_MAX);
	buf_init(&key, TABLE_KEY_MAX);
	while (ret == 0 && (got = lines_next(&lines, &line, &number)) != 0) {
		buf_reset(&key);
		if (got < 0)
			why = "the line is too long";
		else if (str_has_nul(line))
			why = "a NUL in the line";
		else if (is_space(*line.p))
			why = "the first line of a file continues nothing";
		else if (form == TABLE_SOURCE_ALIASES)
			why = split_alias(line, &key, &value);
		else
			why = split_map(line, &key, &value);
		if (why == NULL && key.failed)
			why = "the key is too long";
		if (why != NULL) {
			trouble(number, why, ctx);
			bad++;
		} else {
			ret = entry(buf_str(&key), value, number, ctx);
		}
	}
	buf_fini(&key);
	lines_fini(&lines);
	return ret != 0 ? ret : bad;
}

int table_source_load(int fd, struct buf *text)
{
	struct stat st;
	ssize_t n;
	char *room;

	buf_init(text, TABLE_SOURCE_MAX);
	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		/* Standard input of postmap: whatever comes. */
		do {
			if ((room = buf_reserve(text, 65536)) == NULL)
				goto full;
			if ((n = read(fd, room, 65536)) > 0)
				buf_added(text, (size_t)n);
		} while (n > 0 || (n < 0 && errno == EINTR));
		return n < 0 ? -1 : 0;
	}
	if (st.st_size >= TABLE_SOURCE_MAX ||
	    (room = buf_reserve(text, (size_t)st.st_size + 1)) == NULL)
		goto full;
	if ((n = sys_pread_full(fd, room, (size_t)st.st_size + 1, 0)) < 0)
		return -1;
	buf_added(text, (size_t)n);
	return 0;
full:
	errno = EFBIG;
	return -1;
}
