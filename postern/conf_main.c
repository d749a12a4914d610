/* conf_main.c - changing main.cf without disturbing what stands round it */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "postern/conf.h"
#include "postern/postern.h"

#define FILE_MAX (4 * 1024 * 1024)
#define EDITS_MAX 1000

static int read_all(struct conf_file *f)
{
	struct stat st;
	char *room;
	ssize_t n;

	if (fstat(f->fd, &st) < 0 || st.st_size >= FILE_MAX ||
	    (room = buf_reserve(&f->text, (size_t)st.st_size + 1)) == NULL ||
	    (n = sys_pread_full(f->fd, room, (size_t)st.st_size + 1, 0)) < 0)
		return -1;
	buf_added(&f->text, (size_t)n);
	return 0;
}

int conf_file_open(struct conf_file *f, const char *directory,
    const char *name)
{
	struct stat mine, now;

	memset(f, 0, sizeof(*f));
	f->directory = directory;
	f->name = name;
	f->fd = -1;
	buf_init(&f->text, FILE_MAX);
	buf_init(&f->changed, FILE_MAX);
	f->dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0)
		goto failed;
	for (;;) {
		f->fd = openat(f->dirfd, name, O_RDONLY | O_CLOEXEC);
		if (f->fd < 0 || flock(f->fd, LOCK_EX) < 0 ||
		    fstat(f->fd, &mine) < 0 ||
		    fstatat(f->dirfd, name, &now, 0) < 0)
			goto failed;
		/* Another editor's file took its place while we waited. */
		if (mine.st_ino == now.st_ino && mine.st_dev == now.st_dev)
			break;
		close(f->fd);
	}
	if (read_all(f) == 0)
		return 0;
failed:
	complain("%s/%s: %s", directory, name, strerror(errno));
	conf_file_close(f);
	return -1;
}

int conf_file_replace(struct conf_file *f)
{
	char temp[100];
	struct stat st;
	int fd, rc = -1;

	snprintf(temp, sizeof(temp), "%s.new.%ld", f->name, (long)getpid());
	fd = f->changed.failed || fstat(f->fd, &st) < 0 ? -1
	    : sys_openat(f->dirfd, temp, O_WRONLY | O_CREAT | O_EXCL |
		O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && (geteuid() != 0 ||
		fchown(fd, st.st_uid, st.st_gid) == 0) &&
	    sys_write_all(fd, f->changed.p, f->changed.n) == 0 &&
	    sys_fchmod(fd, st.st_mode & 07777) == 0 && sys_fsync(fd) == 0 &&
	    sys_renameat(f->dirfd, temp, f->dirfd, f->name) == 0 &&
	    sys_fsync(f->dirfd) == 0)
		rc = 0;
	if (rc < 0)
		complain("%s/%s: %s", f->directory, f->name, strerror(errno));
	if (rc < 0 && fd >= 0)
		sys_unlinkat(f->dirfd, temp);
	if (fd >= 0)
		sys_close(fd);
	return rc;
}

void conf_file_close(struct conf_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->dirfd >= 0)
		close(f->dirfd);
	buf_fini(&f->text);
	buf_fini(&f->changed);
}

struct edit {
	struct str name, value;
	bool done;
};

static struct edit *find_edit(struct edit *edits, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(edits[i].name, name))
			return &edits[i];
	return NULL;
}

/* One physical line, with its line end, at the front of *rest. */
static bool take_line(struct str *rest, struct str *line)
{
	ssize_t end = str_chr(*rest, '\n');

	if (rest->n == 0)
		return false;
	*line = str_sub(*rest, 0, end < 0 ? rest->n : (size_t)end + 1);
	*rest = str_from(*rest, line->n);
	return true;
}

static void put_setting(struct buf *out, const struct edit *e)
{
	buf_printf(out, STR_FMT " = " STR_FMT "\n", STR_ARG(e->name),
	    STR_ARG(e->value));
}

/* A line that begins a setting which is to change; its continuation goes
 * the same way. Returns the mark that those get: NULL, they go. */
static const char *change_line(struct conf_file *f, struct edit *e,
    enum conf_edit how, struct str line)
{
	if (how == CONF_COMMENT) {
		buf_printf(&f->changed, "#" STR_FMT, STR_ARG(line));
		e->done = true;
		return "#";
	}
	/* A name that is set twice is set once afterwards. */
	if (how == CONF_SET && !e->done)
		put_setting(&f->changed, e);
	e->done = true;
	return NULL;
}

static void apply_edits(struct conf_file *f, struct edit *edits, size_t n,
    enum conf_edit how)
{
	struct str rest = buf_str(&f->text), line, visible;
	const char *mark = "";	/* of the setting that goes on */
	struct edit *e;
	ssize_t eq;

	while (take_line(&rest, &line)) {
		visible = str_trim(line);
		if (visible.n == 0 || *visible.p == '#') {
			buf_append(&f->changed, line);
			continue;
		}
		if (*line.p == ' ' || *line.p == '\t') {
			if (mark != NULL)
				buf_printf(&f->changed, "%s" STR_FMT, mark,
				    STR_ARG(line));
			continue;
		}
		mark = "";
		eq = str_chr(line, '=');
		e = eq < 0 ? NULL : find_edit(edits, n,
		    str_trim(str_sub(line, 0, (size_t)eq)));
		if (e != NULL)
			mark = change_line(f, e, how, line);
		else
			buf_append(&f->changed, line);
	}
	if (f->changed.n > 0 && f->changed.p[f->changed.n - 1] != '\n')
		buf_append_char(&f->changed, '\n');
	for (size_t i = 0; how == CONF_SET && i < n; i++)
		if (!edits[i].done)
			put_setting(&f->changed, &edits[i]);
}

static int parse_edits(struct edit *edits, enum conf_edit how, int argc,
    char **argv)
{
	for (int i = 0; i < argc; i++) {
		struct str arg = str_of(argv[i]);
		ssize_t eq = str_chr(arg, '=');

		if (how == CONF_SET && eq <= 0) {
			complain("%s: want NAME=VALUE", argv[i]);
			return -1;
		}
		if (str_chr(arg, '\n') >= 0) {
			complain("%s: a value is one line", argv[i]);
			return -1;
		}
		edits[i].name = how == CONF_SET
		    ? str_trim(str_sub(arg, 0, (size_t)eq)) : str_trim(arg);
		edits[i].value = how == CONF_SET
		    ? str_trim(str_from(arg, (size_t)eq + 1)) : STR_NONE;
		for (size_t k = 0; k < edits[i].name.n; k++)
			if (edits[i].name.p[k] == '#' ||
			    (unsigned char)edits[i].name.p[k] <= ' ') {
				complain("%s: that is no parameter's name",
				    argv[i]);
				return -1;
			}
	}
	return 0;
}

int conf_edit_main(const char *directory, enum conf_edit how, int argc,
    char **argv)
{
	struct edit edits[EDITS_MAX] = { 0 };
	struct conf_file f;
	int rc;

	if (argc > EDITS_MAX || parse_edits(edits, how, argc, argv) < 0)
		return 1;
	if (conf_file_open(&f, directory, "main.cf") < 0)
		return 1;
	apply_edits(&f, edits, (size_t)argc, how);
	rc = conf_file_replace(&f) < 0;
	conf_file_close(&f);
	return rc;
}
