/*
 * cmd_user.c - users and their passwords, in auth_users_file
 *
 * The file is written anew beside the old one and takes its place whole;
 * comments, order, owner and mode stay. auth sees the change by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/sys.h"
#include "config/config.h"
#include "config/params.h"
#include "postern/postern.h"

#define FILE_MAX_OCTETS (256 * 1024 * 1024)
#define LINE_MAX_OCTETS 4096
#define PASSWORD_MAX 1000
/* As postern init makes them: service_uid_base + this owns virtual mail. */
#define MAIL_NUMBER 50

struct users_file {
	const struct context *ctx;
	struct config *config;
	const char *path;
	int dir;		/* of the file */
	int fd;			/* the present file, locked */
	const char *name;	/* in dir */
	struct stat st;
	struct buf text, out;
};

/* --- the file --- */

static int read_config(struct users_file *f)
{
	int dir = open(f->ctx->config_dir, O_RDONLY | O_DIRECTORY |
	    O_CLOEXEC);

	if (dir < 0) {
		complain("%s: %s", f->ctx->config_dir, strerror(errno));
		return -1;
	}
	f->config = config_read(dir, f->ctx->config_dir, CONFIG_NO_MASTER |
	    CONFIG_NO_TRUST);
	close(dir);
	f->path = f->config ? config_value(f->config, "auth_users_file")
	    : NULL;
	if (f->path == NULL || f->path[0] != '/') {
		complain("%s/main.cf: auth_users_file is no absolute path",
		    f->ctx->config_dir);
		return -1;
	}
	return 0;
}

static int open_directory(struct users_file *f)
{
	const char *slash = strrchr(f->path, '/');
	char dir[4096];

	f->name = slash + 1;
	snprintf(dir, sizeof(dir), "%.*s", slash == f->path ? 1
	    : (int)(slash - f->path), f->path);
	f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dir < 0)
		complain("%s: %s", dir, strerror(errno));
	return f->dir < 0 ? -1 : 0;
}

/* Two changes at a time would lose one: the one that holds the lock of the
 * file which has the name is the one that may replace it. */
static int lock_file(struct users_file *f, bool writing)
{
	struct stat now;

	for (;;) {
		f->fd = openat(f->dir, f->name, O_RDONLY | O_CLOEXEC);
		if (f->fd < 0 || fstat(f->fd, &f->st) < 0) {
			complain("%s: %s", f->path, strerror(errno));
			return -1;
		}
		if (!writing)
			return 0;
		if (flock(f->fd, LOCK_EX) < 0) {
			complain("%s: lock: %s", f->path, strerror(errno));
			return -1;
		}
		if (fstatat(f->dir, f->name, &now, 0) == 0 &&
		    now.st_ino == f->st.st_ino && now.st_dev == f->st.st_dev)
			return 0;
		close(f->fd);
	}
}

static int load(struct users_file *f)
{
	for (;;) {
		char *room = buf_reserve(&f->text, 65536);
		ssize_t n = room == NULL ? -1 : read(f->fd, room, 65536);

		if (n < 0) {
			complain("%s: %s", f->path, room == NULL
			    ? "it is too large" : strerror(errno));
			return -1;
		}
		if (n == 0)
			return 0;
		buf_added(&f->text, (size_t)n);
	}
}

static int users_open(struct users_file *f, const struct context *ctx,
    bool writing)
{
	*f = (struct users_file){ .ctx = ctx, .dir = -1, .fd = -1 };
	buf_init(&f->text, FILE_MAX_OCTETS);
	buf_init(&f->out, FILE_MAX_OCTETS + LINE_MAX_OCTETS);
	return read_config(f) < 0 || open_directory(f) < 0 ||
	    lock_file(f, writing) < 0 || load(f) < 0 ? -1 : 0;
}

static void users_close(struct users_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->dir >= 0)
		close(f->dir);
	buf_fini(&f->text);
	buf_fini(&f->out);
	config_free(&f->config);
}

/* f->out takes the file's place. A crash leaves the old one or the new one,
 * and perhaps the temporary file, which the next change overwrites. */
static int replace(struct users_file *f)
{
	char temp[300];
	int fd, err;

	if (f->out.failed) {
		complain("%s: it is too large", f->path);
		return -1;
	}
	snprintf(temp, sizeof(temp), ".%.200s.new", f->name);
	if (sys_unlinkat(f->dir, temp) < 0 && errno != ENOENT)
		goto fail;
	fd = sys_openat(f->dir, temp, O_WRONLY | O_CREAT | O_EXCL |
	    O_NOFOLLOW, 0600);
	if (fd < 0)
		goto fail;
	if ((geteuid() == 0 && fchown(fd, f->st.st_uid, f->st.st_gid) < 0) ||
	    sys_fchmod(fd, f->st.st_mode & 07777) < 0 ||
	    sys_write_all(fd, f->out.p, f->out.n) < 0 || sys_fsync(fd) < 0 ||
	    sys_renameat(f->dir, temp, f->dir, f->name) < 0 ||
	    sys_fsync_dir(f->dir, ".") < 0) {
		err = errno;
		sys_close(fd);
		sys_unlinkat(f->dir, temp);
		errno = err;
		goto fail;
	}
	sys_close(fd);
	return 0;
fail:
	complain("%s: %s", f->path, strerror(errno));
	return -1;
}

/* --- its lines --- */

/* The name of the user in that line; n 0: none (a comment). */
static struct str user_of(struct str line)
{
	struct str name;

	if (line.n == 0 || line.p[0] == '#' ||
	    !str_split(&line, ':', &name))
		return STR_NONE;
	return str_trim(name);
}

/* The nth field (0: the name) of a line. */
static struct str field_of(struct str line, int nth)
{
	struct str field = STR_NONE;

	for (int i = 0; i <= nth; i++)
		if (!str_split(&line, ':', &field))
			return STR_NONE;
	return field;
}

static struct str find_line(const struct users_file *f, const char *name)
{
	struct str rest = buf_str(&f->text), line;

	while (str_split(&rest, '\n', &line))
		if (str_eq_nocase_c(user_of(line), name))
			return line;
	return STR_NONE;
}

/* Copies the file with that user's lines replaced; `with` n 0: taken out. */
static void rewrite(struct users_file *f, const char *name, struct str with)
{
	struct str rest = buf_str(&f->text), line;
	bool done = false;

	while (str_split(&rest, '\n', &line)) {
		bool last = rest.p == NULL || rest.n == 0;

		if (str_eq_nocase_c(user_of(line), name)) {
			if (!done && with.n > 0) {
				buf_append(&f->out, with);
				buf_append_char(&f->out, '\n');
			}
			done = true;
		} else if (!(last && line.n == 0)) {
			buf_append(&f->out, line);
			buf_append_char(&f->out, '\n');
		}
		if (last && rest.n == 0)
			break;
	}
}

/* --- passwords --- */

static int read_line(char *out, size_t size)
{
	size_t n = 0;
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n') {
		if (n + 1 >= size)
			return -1;
		out[n++] = c;
	}
	if (n > 0 && out[n - 1] == '\r')
		n--;
	out[n] = '\0';
	return memchr(out, '\0', n) == NULL ? 0 : -1;
}

static int prompt(const char *text, char *out, size_t size)
{
	struct termios old, silent;
	int rc;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return read_line(out, size);
	silent = old;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	fprintf(stderr, "%s: ", text);
	rc = read_line(out, size);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return rc;
}

/* A hash of what was given, typed twice, or on standard input. */
static int take_password(const char *arg, char *hash, size_t size)
{
	char password[PASSWORD_MAX] = "", again[PASSWORD_MAX] = "";
	int rc = 0;

	if (arg != NULL)
		rc = snprintf(password, sizeof(password), "%s", arg) <
		    (int)sizeof(password) ? 0 : -1;
	else if (!isatty(STDIN_FILENO))
		rc = read_line(password, sizeof(password));
	else if (prompt("New password", password, sizeof(password)) < 0 ||
	    prompt("Once more", again, sizeof(again)) < 0)
		rc = -1;
	else if (strcmp(password, again) != 0) {
		complain("the two are not the same");
		return -1;
	}
	if (rc < 0 || password[0] == '\0') {
		complain("want a password of 1 to %d octets",
		    PASSWORD_MAX - 1);
		rc = -1;
	}
	if (rc == 0)
		rc = hash_password(password, hash, size);
	explicit_bzero(password, sizeof(password));
	explicit_bzero(again, sizeof(again));
	return rc;
}

/* --- add --- */

/* local@domain in lower case, safe as two names of directories. */
static int take_address(const char *arg, char *out, size_t size)
{
	size_t n = strlen(arg);
	const char *at = strchr(arg, '@');

	if (n >= size || at == NULL || at == arg || at[1] == '\0' ||
	    at[1] == '.' || arg[0] == '.' || strchr(at + 1, '@') != NULL) {
		complain("%s: want an address, as in anna@example.com", arg);
		return -1;
	}
	for (size_t i = 0; i <= n; i++) {
		unsigned char c = (unsigned char)arg[i];

		if (i < n && (c <= 32 || c == 127 || c == '/' || c == ':' ||
			c == '#')) {
			complain("%s: there is a character in it that cannot "
			    "be", arg);
			return -1;
		}
		out[i] = ascii_lower(arg[i]);
	}
	return 0;
}

/* "uid:gid" of those whose mail lives beside the new one's. */
static int owner_of_mail(struct users_file *f, char *out, size_t size)
{
	const char *mail_uid = config_value(f->config, "mail_uid");
	const char *base = config_value(f->config, "service_uid_base");
	struct str rest = buf_str(&f->text), line;
	long first = base != NULL ? strtol(base, NULL, 10) : 0;

	if (mail_uid != NULL && mail_uid[0] != '\0') {
		snprintf(out, size, ":");
		return 0;
	}
	while (str_split(&rest, '\n', &line)) {
		struct str uid = field_of(line, 2), gid = field_of(line, 3);

		if (str_chr(user_of(line), '@') >= 0 && uid.n > 0) {
			snprintf(out, size, STR_FMT ":" STR_FMT,
			    STR_ARG(uid), STR_ARG(gid));
			return 0;
		}
	}
	if (geteuid() != 0)
		snprintf(out, size, "%u:%u", (unsigned)geteuid(),
		    (unsigned)getegid());
	else if (first > 0)
		snprintf(out, size, "%ld:%ld", first + MAIL_NUMBER,
		    first + MAIL_NUMBER);
	else {
		complain("whose is the mail of virtual users? Set mail_uid "
		    "in %s/main.cf", f->ctx->config_dir);
		return -1;
	}
	return 0;
}

/* A user in a domain that is not ours gets no mail. */
static void warn_of_domain(const struct users_file *f, const char *domain)
{
	const char *all = config_value(f->config, "virtual_mailbox_domains");
	struct str rest = str_of(all), word;

	while (all != NULL && param_word(&rest, false, &word)) {
		/* a table or a file: who knows what is in it */
		if (str_eq_nocase_c(word, domain) ||
		    str_chr(word, ':') >= 0 || str_chr(word, '/') >= 0)
			return;
	}
	complain("warning: %s is not in virtual_mailbox_domains: no mail for "
	    "it is taken until it is there", domain);
}

static int add(struct users_file *f, const char *address, const char *arg)
{
	char hash[512], owner[256], line[LINE_MAX_OCTETS];
	const char *at = strchr(address, '@');
	int n;

	if (find_line(f, address).n > 0) {
		complain("%s is there already; its password is changed by "
		    "postern user passwd", address);
		return EX_CANTCREAT;
	}
	if (owner_of_mail(f, owner, sizeof(owner)) < 0)
		return EX_CONFIG;
	if (take_password(arg, hash, sizeof(hash)) < 0)
		return EX_DATAERR;
	n = snprintf(line, sizeof(line), "%s:%s:%s::%s/%.*s:", address, hash,
	    owner, at + 1, (int)(at - address), address);
	if (n < 0 || n >= (int)sizeof(line))
		return EX_DATAERR;
	rewrite(f, address, STR_NONE);
	buf_append_c(&f->out, line);
	buf_append_char(&f->out, '\n');
	if (replace(f) < 0)
		return EX_CANTCREAT;
	warn_of_domain(f, at + 1);
	return 0;
}

static int change_password(struct users_file *f, const char *address,
    const char *arg)
{
	struct str line = find_line(f, address), rest;
	char hash[512];
	struct buf b;
	int rc;

	if (line.n == 0) {
		complain("there is no user %s", address);
		return EX_NOUSER;
	}
	if (take_password(arg, hash, sizeof(hash)) < 0)
		return EX_DATAERR;
	rest = str_from(line, field_of(line, 0).n + 1);
	rest = str_from(rest, field_of(line, 1).n);
	buf_init(&b, FILE_MAX_OCTETS);
	buf_printf(&b, STR_FMT ":%s" STR_FMT, STR_ARG(field_of(line, 0)),
	    hash, STR_ARG(rest));
	rewrite(f, address, buf_str(&b));
	rc = b.failed || replace(f) < 0 ? EX_CANTCREAT : 0;
	buf_fini(&b);
	return rc;
}

static int remove_user(struct users_file *f, const char *address)
{
	if (find_line(f, address).n == 0) {
		complain("there is no user %s", address);
		return EX_NOUSER;
	}
	rewrite(f, address, STR_NONE);
	return replace(f) < 0 ? EX_CANTCREAT : 0;
}

static int list_users(struct users_file *f)
{
	struct str rest = buf_str(&f->text), line;

	while (str_split(&rest, '\n', &line))
		if (user_of(line).n > 0)
			printf(STR_FMT "\n", STR_ARG(user_of(line)));
	return fflush(stdout) == 0 ? 0 : EX_IOERR;
}

static int usage(void)
{
	fprintf(stderr, "usage: postern user add|passwd ADDRESS [PASSWORD]\n"
	    "       postern user del ADDRESS\n"
	    "       postern user list\n"
	    "Without PASSWORD it is asked for, or read from standard "
	    "input.\n");
	return EX_USAGE;
}

static int run_user(const struct context *ctx, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool is_list = strcmp(verb, "list") == 0;
	bool is_add = strcmp(verb, "add") == 0;
	bool is_passwd = strcmp(verb, "passwd") == 0;
	char address[512] = "";
	struct users_file f;
	int rc = EX_NOINPUT;

	if (is_list ? argc != 2 : is_add || is_passwd
		? argc != 3 && argc != 4
		: strcmp(verb, "del") != 0 || argc != 3)
		return usage();
	if (is_add && take_address(argv[2], address, sizeof(address)) < 0)
		return EX_DATAERR;
	if (!is_list && !is_add)
		snprintf(address, sizeof(address), "%s", argv[2]);
	if (users_open(&f, ctx, !is_list) == 0)
		rc = is_list ? list_users(&f)
		    : is_add ? add(&f, address, argv[3])
		    : is_passwd ? change_password(&f, address, argv[3])
		    : remove_user(&f, address);
	users_close(&f);
	return rc;
}

const struct command command_user = { "user", NULL, run_user,
	"add|passwd ADDRESS [PASSWORD] | del ADDRESS | list",
	"keeps the users and passwords of auth_users_file" };
