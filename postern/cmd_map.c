/*
 * cmd_map.c - postmap, postalias, newaliases: tables built and asked
 *
 * A table is built beside the old one and takes its place whole, so that
 * readers never miss an entry. As root, the files of somebody else are
 * touched with his rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "config/config.h"
#include "config/params.h"
#include "postern/postern.h"
#include "table/source.h"
#include "table/table.h"
#include "table/writer.h"

#define EX_USAGE 64
#define EX_TEMPFAIL 75

enum job { JOB_BUILD, JOB_ADD, JOB_QUERY, JOB_DELETE, JOB_LIST };

struct map_job {
	enum job job;
	enum table_source form;
	const char *key;	/* of a query or deletion; "-": from stdin */
	bool replace;		/* -r: the last entry of a key counts */
	bool quiet;		/* -w: no word of an entry that is there */
	bool keep_root;		/* -o */
	bool own_mode;		/* -p: not the source's mode */
	bool verbose;
};

/* One table in work. */
struct work {
	const struct map_job *job;
	const char *name;	/* of the source, for messages */
	struct table_writer *writer;
	struct buf why;
	unsigned entries;
	int rc;
};

/* "hash:/absolute/name" of what the command line says. */
static int complete_name(const char *arg, char *out, size_t size)
{
	const char *colon = strchr(arg, ':'), *name = arg;
	char cwd[2048] = "", type[64] = "hash";
	const char *slash = "";

	if (arg[0] != '/' && colon != NULL) {
		snprintf(type, sizeof(type), "%.*s", (int)(colon - arg), arg);
		name = colon + 1;
	}
	if (name[0] != '/' && name[0] != '{' && strcmp(type, "static") != 0 &&
	    strcmp(type, "inline") != 0 && strcmp(type, "fail") != 0 &&
	    strcmp(type, "proxy") != 0 && strcmp(type, "unix") != 0) {
		if (getcwd(cwd, sizeof(cwd)) == NULL) {
			complain("current directory: %s", strerror(errno));
			return -1;
		}
		slash = "/";
	}
	if (snprintf(out, size, "%s:%s%s%s", type, cwd, slash, name) >=
	    (int)size) {
		complain("%s: the name is too long", arg);
		return -1;
	}
	return 0;
}

/*
 * As root: takes the rights of the file's owner, unless his rights do not
 * reach into the directory; then the new file is given to him. Returns
 * whether it is to be given.
 */
static bool take_rights(const struct map_job *job, const struct stat *st,
    const char *path)
{
	char directory[4096];
	char *slash;

	if (geteuid() != 0 || st->st_uid == 0 || job->keep_root)
		return false;
	snprintf(directory, sizeof(directory), "%s", path);
	if ((slash = strrchr(directory, '/')) != NULL)
		slash[slash == directory] = '\0';
	if (setegid(st->st_gid) < 0 || seteuid(st->st_uid) < 0)
		return true;
	if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
		return false;
	if (seteuid(0) < 0 || setegid(0) < 0)
		abort();
	return true;
}

static void give_back_rights(void)
{
	if (getuid() == 0 && (seteuid(0) < 0 || setegid(0) < 0))
		abort();
}

static int put_entry(struct str key, struct str value, unsigned line,
    void *ctx)
{
	struct work *w = ctx;
	int ret = table_writer_put(w->writer, key, value, w->job->replace
	    ? TABLE_WRITE_REPLACE : TABLE_WRITE_NEW, &w->why);

	if (ret < 0) {
		complain("%s, line %u: %s", w->name, line, buf_cstr(&w->why));
		return -1;
	}
	if (ret > 0 && !w->job->replace && !w->job->quiet)
		complain("warning: %s, line %u: \"" STR_FMT "\" is there "
		    "already; the first entry counts", w->name, line,
		    STR_ARG(key));
	w->entries++;
	return 0;
}

static void tell_trouble(unsigned line, const char *why, void *ctx)
{
	struct work *w = ctx;

	complain("warning: %s, line %u: %s; the line is skipped", w->name,
	    line, why);
}

/* Reads the source on fd into the writer. */
static int fill(struct work *w, int fd)
{
	struct buf text;
	int ret = -1;

	if (table_source_load(fd, &text) < 0)
		complain("%s: %s", w->name, strerror(errno));
	else
		ret = table_source_read(buf_str(&text), w->job->form,
		    put_entry, tell_trouble, w) < 0 ? -1 : 0;
	buf_fini(&text);
	return ret;
}

static int build(struct work *w, const char *spec)
{
	const char *path = strchr(spec, ':') + 1;
	struct stat st;
	bool give;
	int fd, ret = -1;

	if (stat(path, &st) < 0) {
		complain("%s: %s", path, strerror(errno));
		return -1;
	}
	give = take_rights(w->job, &st, path);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		complain("%s: %s", path, strerror(errno));
		goto out;
	}
	w->writer = table_writer_open(str_of(spec), w->job->own_mode ? 0644
	    : st.st_mode, &w->why);
	if (w->writer == NULL) {
		complain("%s", buf_cstr(&w->why));
		goto out;
	}
	if (give)
		table_writer_give(w->writer, st.st_uid, st.st_gid);
	if (fill(w, fd) == 0) {
		ret = table_writer_commit(&w->writer, &w->why);
		if (ret < 0)
			complain("%s", buf_cstr(&w->why));
		else if (w->job->verbose)
			printf("%s: %u entries\n", spec, w->entries);
	}
out:
	table_writer_abort(&w->writer);
	if (fd >= 0)
		close(fd);
	give_back_rights();
	return ret;
}

/*
 * Two changes of one table at a time would lose one of them: the present
 * file is locked until the new one has taken its place. -1: there is none.
 */
static int lock_table(const char *spec, struct stat *st)
{
	char path[4200];
	struct stat now;
	int fd;

	snprintf(path, sizeof(path), "%s.db", strchr(spec, ':') + 1);
	for (;;) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, st) < 0 ||
		    stat(path, &now) < 0)
			break;
		if (now.st_ino == st->st_ino && now.st_dev == st->st_dev)
			return fd;
		close(fd);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int delete_keys(struct work *w)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int found = 0, ret = 0;

	if (strcmp(w->job->key, "-") != 0)
		return table_writer_delete(w->writer, str_of(w->job->key),
		    &w->why);
	while (ret >= 0 && (n = getline(&line, &size, stdin)) >= 0) {
		ret = table_writer_delete(w->writer,
		    str_trim(str_n(line, (size_t)n)), &w->why);
		found |= ret > 0;
	}
	free(line);
	return ret < 0 ? -1 : found;
}

/* -i and -d: a copy of the table with the change in it. */
static int change(struct work *w, const char *spec)
{
	struct stat st = { .st_mode = 0644 };
	int lock = lock_table(spec, &st), ret = -1;
	bool give = false;

	if (lock < 0 && w->job->job == JOB_DELETE) {
		complain("%s: %s", spec, strerror(errno));
		return -1;
	}
	if (lock >= 0)
		give = take_rights(w->job, &st, strchr(spec, ':') + 1);
	w->writer = table_writer_open(str_of(spec), st.st_mode, &w->why);
	if (w->writer != NULL && give)
		table_writer_give(w->writer, st.st_uid, st.st_gid);
	if (w->writer == NULL || table_writer_copy(w->writer, &w->why) < 0)
		complain("%s", buf_cstr(&w->why));
	else if (w->job->job == JOB_ADD)
		ret = fill(w, STDIN_FILENO);
	else if ((ret = delete_keys(w)) < 0)
		complain("%s", buf_cstr(&w->why));
	/* Nothing to delete: the table stays as it is, and we say 1. */
	if (w->job->job == JOB_DELETE && ret == 0)
		w->rc = 1;
	else if (ret >= 0 && table_writer_commit(&w->writer, &w->why) < 0) {
		complain("%s", buf_cstr(&w->why));
		ret = -1;
	}
	table_writer_abort(&w->writer);
	if (lock >= 0)
		close(lock);
	give_back_rights();
	return ret < 0 ? -1 : 0;
}

static int print_entry(struct str key, struct str value, void *ctx)
{
	const struct map_job *job = ctx;

	printf(job->form == TABLE_SOURCE_ALIASES ? STR_FMT ":\t" STR_FMT "\n"
	    : STR_FMT "\t" STR_FMT "\n", STR_ARG(key), STR_ARG(value));
	return 0;
}

/* 1 found, 0 not, -1 */
static int query(const struct map_job *job, struct table *t, struct str key,
    bool with_key)
{
	struct buf value;
	int found;

	buf_init(&value, TABLE_VALUE_MAX);
	found = table_find(t, key, &value);
	if (found < 0)
		complain("%s", buf_cstr(&value));
	else if (found > 0 && with_key)
		print_entry(key, buf_str(&value), (void *)(uintptr_t)job);
	else if (found > 0)
		printf(STR_FMT "\n", STR_ARG(buf_str(&value)));
	buf_fini(&value);
	return found;
}

/* -q: the first table that knows the key; -q -: every key of stdin. */
static int query_all(const struct map_job *job, struct table **tables,
    size_t n)
{
	bool from_stdin = strcmp(job->key, "-") == 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int found = 0, any = 0;

	for (size_t i = 0; !from_stdin && i < n && found == 0; i++)
		found = any = query(job, tables[i], str_of(job->key), false);
	while (from_stdin && found >= 0 &&
	    (len = getline(&line, &size, stdin)) >= 0) {
		struct str key = str_n(line, (size_t)len);

		while (key.n > 0 && (key.p[key.n - 1] == '\n' ||
		    key.p[key.n - 1] == '\r'))
			key.n--;
		found = 0;
		for (size_t i = 0; i < n && found == 0; i++)
			found = query(job, tables[i], key, true);
		any |= found > 0;
	}
	free(line);
	return found < 0 ? EX_TEMPFAIL : any > 0 ? 0 : 1;
}

static int read_tables(const struct map_job *job, int argc, char **argv)
{
	struct table *tables[100] = { NULL };
	char spec[4096];
	const char *why;
	struct buf reason;
	int n, rc = 0;

	for (n = 0; n < argc && n < 100 && rc == 0; n++) {
		if (complete_name(argv[n], spec, sizeof(spec)) < 0)
			rc = 1;
		else if ((tables[n] = table_new(str_of(spec), &why)) == NULL) {
			complain("%s: %s", argv[n], why);
			rc = 1;
		}
	}
	if (rc == 0 && job->job == JOB_QUERY)
		rc = query_all(job, tables, (size_t)n);
	buf_init(&reason, 4000);
	for (int i = 0; rc == 0 && job->job == JOB_LIST && i < n; i++)
		if (table_each(tables[i], print_entry, (void *)(uintptr_t)job,
		    &reason) < 0) {
			complain("%s", buf_cstr(&reason));
			rc = 1;
		}
	buf_fini(&reason);
	for (int i = 0; i < n; i++)
		table_free(&tables[i]);
	if (fflush(stdout) != 0 && rc == 0) {
		complain("standard output: %s", strerror(errno));
		rc = 1;
	}
	return rc;
}

static int write_table(const struct map_job *job, const char *arg)
{
	struct work w = { .job = job };
	char spec[4096];

	if (complete_name(arg, spec, sizeof(spec)) < 0)
		return 1;
	w.name = job->job == JOB_ADD ? "standard input"
		: strchr(spec, ':') + 1;
	buf_init(&w.why, 4000);
	if ((job->job == JOB_BUILD ? build(&w, spec) : change(&w, spec)) < 0)
		w.rc = 1;
	buf_fini(&w.why);
	return w.rc;
}

static int run_job(const struct map_job *job, int argc, char **argv)
{
	int rc = 0, one;

	if (job->job == JOB_QUERY || job->job == JOB_LIST)
		return read_tables(job, argc, argv);
	/* -d: 0 when any of the tables had the key. */
	if (job->job == JOB_DELETE)
		rc = 1;
	for (int i = 0; i < argc; i++) {
		one = write_table(job, argv[i]);
		rc = job->job == JOB_DELETE ? rc & one : rc | one;
	}
	return rc;
}

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s [-ioprsvw] [-c DIRECTORY] [-d KEY] "
	    "[-q KEY] [TYPE:]FILE...\n", name);
	return EX_USAGE;
}

static int run_map(const struct context *ctx, int argc, char **argv,
    enum table_source form)
{
	struct map_job job = { .job = JOB_BUILD, .form = form };
	const char *name = form == TABLE_SOURCE_MAP ? "postmap" : "postalias";
	int c;

	(void)ctx;
	while ((c = getopt(argc, argv, "c:d:ioNpq:rsvw")) != -1) {
		switch (c) {
		case 'c':	/* tables are named whole; nothing is read */
			break;
		case 'd':
		case 'q':
			if (job.job != JOB_BUILD)
				return usage(name);
			job.job = c == 'd' ? JOB_DELETE : JOB_QUERY;
			job.key = optarg;
			break;
		case 'i':
		case 's':
			if (job.job != JOB_BUILD)
				return usage(name);
			job.job = c == 'i' ? JOB_ADD : JOB_LIST;
			break;
		case 'o': job.keep_root = true; break;
		case 'N': break;	/* a NUL ends keys and values: always */
		case 'p': job.own_mode = true; break;
		case 'r': job.replace = true; break;
		case 'v': job.verbose = true; break;
		case 'w': job.quiet = true; break;
		default: return usage(name);
		}
	}
	if (optind == argc)
		return usage(name);
	return run_job(&job, argc - optind, argv + optind);
}

static int run_postmap(const struct context *ctx, int argc, char **argv)
{
	return run_map(ctx, argc, argv, TABLE_SOURCE_MAP);
}

static int run_postalias(const struct context *ctx, int argc, char **argv)
{
	return run_map(ctx, argc, argv, TABLE_SOURCE_ALIASES);
}

/* Builds every table of alias_database. */
static int build_aliases(const char *directory, bool verbose)
{
	struct map_job job = { .job = JOB_BUILD,
		.form = TABLE_SOURCE_ALIASES, .verbose = verbose };
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct config *c;
	struct str rest, word;
	char spec[4096];
	const char *value;

	if (fd < 0) {
		complain("%s: %s", directory, strerror(errno));
		return 78;
	}
	c = config_read(fd, directory, CONFIG_NO_MASTER | CONFIG_NO_TRUST);
	close(fd);
	if (c == NULL || (value = config_value(c, "alias_database")) == NULL) {
		complain("%s: main.cf cannot be evaluated; postern check says "
		    "why", directory);
		config_free(&c);
		return 78;
	}
	rest = str_of(value);
	while (param_word(&rest, true, &word)) {
		if (str_starts(word, STR("proxy:")))
			word = str_from(word, 6);
		if (str_to_c(word, spec, sizeof(spec)) < 0)
			rc = 1;
		/* A text that is read as it is needs no building. */
		else if (!str_starts(word, STR("texthash:")))
			rc |= write_table(&job, spec);
	}
	config_free(&c);
	return rc;
}

static int run_newaliases(const struct context *ctx, int argc, char **argv)
{
	const char *directory = ctx->config_dir;
	bool verbose = false;
	int c;

	while ((c = getopt(argc, argv, "c:C:v")) != -1) {
		switch (c) {
		case 'c': case 'C': directory = optarg; break;
		case 'v': verbose = true; break;
		default:
			fprintf(stderr, "usage: newaliases [-v] "
			    "[-c DIRECTORY]\n");
			return EX_USAGE;
		}
	}
	return build_aliases(directory, verbose);
}

int init_build_tables(const struct context *ctx)
{
	return build_aliases(ctx->config_dir, false) == 0 ? 0 : -1;
}

const struct command command_map = { "map", "postmap", run_postmap,
	"[-ioprsvw] [-d KEY] [-q KEY] [TYPE:]FILE...",
	"build a lookup table, or ask one" };
const struct command command_alias = { "alias", "postalias", run_postalias,
	"[-ioprsvw] [-d KEY] [-q KEY] [TYPE:]FILE...",
	"the same for a file in aliases(5) form" };
const struct command command_newaliases = { "newaliases", "newaliases",
	run_newaliases, "[-v]", "build the tables of alias_database" };
