/* users_file.c - lines of the users file */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>
#include "config/users_file.h"

/* Why a line is not taken, when it is not the line's fault. */
static const char no_memory[] = "out of memory";

static const char bad_name[] = "bad name", long_hash[] =
    "password hash too long", bad_uid[] = "bad uid", bad_gid[] = "bad gid",
    no_owner[] = "no uid and gid, and no mail_uid", twice[] = "named twice",
    bad_home[] = "bad home directory", slash[] = "a name with a slash needs a "
    "home directory";

static const struct {
	const char *why, *remedy;
} remedies[] = {
	{ bad_name, "a line is name:password:uid:gid:gecos:home:" },
	{ long_hash, "postern user passwd NAME makes a new one" },
	{ bad_uid, "write the number, or a user of the system" },
	{ bad_gid, "write the number" },
	{ no_owner, "set mail_uid in main.cf, or write uid and gid in the "
	    "line: name:password:uid:gid:gecos:home:" },
	{ twice, "remove this line or the one before it" },
	{ bad_home, "write a path without . and .. and empty parts" },
	{ slash, "write one into the sixth field" },
};

const char *users_file_remedy(const char *why)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (strcmp(why, remedies[i].why) == 0)
			return remedies[i].remedy;
	return NULL;
}

static int parse_id(struct str text, bool is_uid, uint32_t *id_r,
    gid_t *gid_r)
{
	char name[128], buf[4096];
	struct passwd pw, *found = NULL;
	uint64_t n;

	if (str_to_u64(text, UINT32_MAX - 1, &n) == 0) {
		*id_r = (uint32_t)n;
		return 0;
	}
	if (!is_uid || str_to_c(text, name, sizeof(name)) != 0 ||
	    getpwnam_r(name, &pw, buf, sizeof(buf), &found) != 0 ||
	    found == NULL)
		return -1;
	*id_r = pw.pw_uid;
	*gid_r = pw.pw_gid;
	return 0;
}

/* A directory below the mail root must stay below it. */
static bool is_safe_path(struct str path)
{
	struct str part;

	if (path.n == 0 || path.n >= USERS_DIR_MAX || str_has_ctl(path))
		return false;
	while (str_split(&path, '/', &part))
		if (part.n == 0 || str_eq_c(part, ".") || str_eq_c(part, ".."))
			return false;
	return true;
}

static struct str lower(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);

	if (p == NULL)
		return STR_NONE;
	for (size_t i = 0; i < s.n; i++)
		p[i] = ascii_lower(p[i]);
	return str_n(p, s.n);
}

/* Where the user's mail is. NULL, or what is wrong. */
static const char *place(const struct users_rules *rules, struct arena *a,
    struct str home, struct users_row *row)
{
	struct str root = str_of(rules->mail_root), name = row->name;
	ssize_t at = str_rchr(name, '@');

	while (home.n > 1 && home.p[home.n - 1] == '/')
		home.n--;
	if (home.n > 0 && home.p[0] == '/') {
		if (root.n > 0 && str_starts(home, root) &&
		    home.n > root.n + 1 && home.p[root.n] == '/') {
			home = str_from(home, root.n + 1);
		} else {
			row->is_virtual = false;
			row->dir = home;
			return is_safe_path(str_from(home, 1)) ? NULL
			    : bad_home;
		}
	}
	row->is_virtual = true;
	row->dir = home;
	if (home.n == 0 && at > 0)
		row->dir = arena_printf(a, STR_FMT "/" STR_FMT,
		    STR_ARG(str_from(name, (size_t)at + 1)),
		    STR_ARG(str_sub(name, 0, (size_t)at)));
	else if (home.n == 0)
		row->dir = name;
	if (home.n == 0 && str_chr(name, '/') >= 0)
		return slash;
	return is_safe_path(row->dir) ? NULL : bad_home;
}

static const char *parse_line(const struct users_rules *rules,
    struct str line, struct arena *a, struct map *rows,
    struct users_row **row_r)
{
	struct str field[6];
	struct users_row *row = ARENA_NEW(a, struct users_row);
	const char *why;
	uint32_t id;

	if (row == NULL)
		return no_memory;
	for (int i = 0; i < 6; i++)
		if (!str_split(&line, ':', &field[i]))
			field[i] = STR_NONE;
	row->name = lower(a, field[0]);
	if (row->name.n == 0 || row->name.n >= USERS_NAME_MAX ||
	    str_has_ctl(row->name))
		return bad_name;
	if (field[1].n >= USERS_HASH_MAX)
		return long_hash;
	row->hash = field[1];
	row->uid = rules->mail_uid;
	row->gid = rules->mail_gid;
	if (field[2].n > 0) {
		if (parse_id(field[2], true, &id, &row->gid) != 0)
			return bad_uid;
		row->uid = id;
	}
	if (field[3].n > 0) {
		if (parse_id(field[3], false, &id, NULL) != 0)
			return bad_gid;
		row->gid = id;
	}
	if (rules->one_uid) {
		row->uid = geteuid();
		row->gid = getegid();
	}
	if (row->uid == (uid_t)-1 || row->gid == (gid_t)-1)
		return no_owner;
	if (map_find(rows, row->name) != NULL)
		return twice;
	if ((why = place(rules, a, field[5], row)) != NULL)
		return why;
	*row_r = row;
	return map_set(rows, row->name, row, NULL) == 0 ? NULL : no_memory;
}

size_t users_arena_size(size_t n)
{
	/* A line of two octets ("a") costs a row and its name. */
	return 48 * n + 1024 * 1024;
}

int users_file_parse(const struct users_rules *rules, struct str text,
    struct arena *arena, struct map *rows, const struct users_reader *reader)
{
	struct users_row *row = NULL;
	struct str line;
	unsigned number = 0;
	const char *why;

	while (str_split(&text, '\n', &line)) {
		number++;
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		why = parse_line(rules, line, arena, rows, &row);
		if (why == no_memory || arena_failed(arena)) {
			errno = ENOMEM;
			return -1;
		}
		if (why != NULL)
			reader->skipped(reader->ctx, number, why);
		else if (reader->taken != NULL)
			reader->taken(reader->ctx, row);
	}
	return 0;
}

int users_mail_owner(const char *mail_uid, uid_t *uid_r, gid_t *gid_r)
{
	struct str owner = str_of(mail_uid), uid;
	uint32_t id;
	int rc = 0;

	*uid_r = (uid_t)-1;
	*gid_r = (gid_t)-1;
	if (owner.n == 0 || !str_split(&owner, ':', &uid))
		return 0;
	if (parse_id(uid, true, &id, gid_r) == 0) {
		*uid_r = id;
		if (*gid_r == (gid_t)-1)
			*gid_r = id;
	} else {
		rc = -1;
	}
	if (owner.p != NULL && parse_id(owner, false, &id, NULL) == 0)
		*gid_r = id;
	return rc;
}
