/*
 * cmd_check.c - postern check: every mistake, with its place and what to do
 *
 * What the two files themselves tell comes from lib/config. Here the rest of
 * the world is looked at: tables, directories, transports; keys, addresses
 * and the users file in files of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config/commands.h"
#include "config/params.h"
#include "postern/check.h"
#include "service/sandbox.h"
#include "table/table.h"

static void print_problem(struct check *k, const struct config_problem *p)
{
	struct buf line;

	if (p->is_error)
		k->errors++;
	else
		k->warnings++;
	if (k->quiet && !p->is_error)
		return;
	buf_init(&line, 8192);
	config_problem_print(p, k->ctx->config_dir, &line);
	fprintf(stderr, "%s\n", buf_cstr(&line));
	buf_fini(&line);
}

static void report(struct check *k, const char *prefix,
    struct config_problem *p, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static void report(struct check *k, const char *prefix,
    struct config_problem *p, const char *fmt, va_list ap)
{
	char text[4096], whole[4500];

	vsnprintf(text, sizeof(text), fmt, ap);
	snprintf(whole, sizeof(whole), "%s%s%s", prefix,
	    *prefix ? ": " : "", text);
	p->text = whole;
	print_problem(k, p);
	p->text = NULL; /* it ends here */
}

void check_report(struct check *k, bool is_error, const char *param,
    const char *remedy, const char *fmt, ...)
{
	struct config_problem p = { .is_error = is_error, .remedy = remedy,
		.file = "main.cf" };
	va_list ap;

	config_where(k->c, param, &p.line);
	va_start(ap, fmt);
	report(k, param, &p, fmt, ap);
	va_end(ap);
}

bool check_overrides(const struct master_service *s, const char *param)
{
	for (size_t i = 0; s != NULL && i < s->override_count; i++)
		if (strcmp(s->overrides[i].name, param) == 0)
			return true;
	return false;
}

void check_report_service(struct check *k, const struct master_service *s,
    bool is_error, const char *param, const char *remedy, const char *fmt, ...)
{
	struct config_problem p = { .is_error = is_error, .remedy = remedy,
		.file = "main.cf" };
	va_list ap;

	if (check_overrides(s, param)) {
		p.file = "master.cf";
		p.line = s->line;
	} else {
		config_where(k->c, param, &p.line);
	}
	va_start(ap, fmt);
	report(k, param, &p, fmt, ap);
	va_end(ap);
}

void check_report_file(struct check *k, const char *file, unsigned line,
    const char *remedy, const char *fmt, ...)
{
	struct config_problem p = { .is_error = true, .remedy = remedy,
		.file = file, .line = line };
	va_list ap;

	va_start(ap, fmt);
	report(k, "", &p, fmt, ap);
	va_end(ap);
}

const char *check_value(const struct check *k, const char *param)
{
	const char *value = config_value(k->c, param);

	return value ? value : "";
}

/* Only root, or who runs the instance, may write it. */
static bool is_trusted(const struct stat *st)
{
	return (st->st_uid == 0 || st->st_uid == geteuid()) &&
	    !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* --- tables --- */

/*
 * A table and its file: there, whole, nobody else's, and not older than its
 * source. A table that decides on commands (aliases) must be trusted.
 */
static void check_table_file(struct check *k, const char *param,
    struct str word, bool decides)
{
	struct str name = str_from(word, (size_t)str_chr(word, ':') + 1);
	bool built = str_starts(word, STR("hash:")) ||
	    str_starts(word, STR("btree:"));
	const char *tool = decides ? "newaliases" : "postmap";
	char source[4096], file[4100], remedy[4400];
	struct stat st, from;

	if (str_to_c(name, source, sizeof(source)) < 0)
		return;
	snprintf(file, sizeof(file), "%s%s", source, built ? ".db" : "");
	snprintf(remedy, sizeof(remedy), decides ? "run newaliases"
	    : "run postmap " STR_FMT, STR_ARG(word));
	if (stat(file, &st) < 0) {
		check_report(k, errno != EACCES, param, built && errno == ENOENT
		    ? remedy : NULL, "%s: %s", file, strerror(errno));
		return;
	}
	if (!is_trusted(&st))
		check_report(k, decides || (st.st_mode & S_IWOTH), param,
		    "chown it to root and chmod go-w it",
		    "%s is not trusted: uid %lu, mode %04o", file,
		    (unsigned long)st.st_uid, (unsigned)st.st_mode & 07777);
	if (built && stat(source, &from) == 0 &&
	    from.st_mtim.tv_sec > st.st_mtim.tv_sec)
		check_report(k, false, param, remedy, "%s is older than %s; "
		    "%s was not run since", file, source, tool);
}

static void check_table(struct check *k, const char *param, struct str word,
    bool decides)
{
	const char *why = "";
	struct table *t;
	struct buf reason;

	while (str_starts(word, STR("proxy:")))
		word = str_from(word, 6);
	t = table_new(word, &why);
	if (t == NULL) {
		ssize_t colon = str_chr(word, ':');

		/* A type that is not there was told of already. */
		if (colon > 0 && *word.p != '/' && !config_is_table_type(
		    str_sub(word, 0, (size_t)colon)))
			return;
		check_report(k, true, param, NULL, STR_FMT ": %s",
		    STR_ARG(word), why);
		return;
	}
	buf_init(&reason, 4096);
	if (!table_is_users(t) && !table_is_constant(t)) {
		size_t before = k->errors + k->warnings;

		if (!str_starts(word, STR("inline:")))
			check_table_file(k, param,
			    str_of(table_name(t)), decides);
		if (k->errors + k->warnings == before &&
		    table_check(t, &reason) < 0)
			check_report(k, true, param, NULL, "%s",
			    buf_cstr(&reason));
	}
	buf_fini(&reason);
	table_free(&t);
}

/* Parameters that are lists of tables, and whether they decide on commands. */
static const struct {
	const char *param;
	bool decides;
} table_params[] = {
	{ "alias_maps", true }, { "virtual_alias_maps", false },
	{ "virtual_mailbox_maps", false }, { "local_recipient_maps", false },
	{ "relay_recipient_maps", false }, { "transport_maps", false },
};

/* Parameters whose words may be tables or /files of more words. */
static const char *const list_params[] = { "mydestination",
	"virtual_mailbox_domains", "virtual_alias_domains", "relay_domains",
	"mynetworks" };

/* A list that nobody set says what another parameter says. */
static void check_lists(struct check *k, const char *param)
{
	struct str rest = str_of(check_value(k, param)), word;
	char path[4096];

	if (config_raw(k->c, param) == NULL)
		return;
	while (param_word(&rest, true, &word)) {
		while (word.n > 0 && *word.p == '!')
			word = str_from(word, 1);
		if (word.n > 0 && *word.p == '/' &&
		    str_to_c(word, path, sizeof(path)) == 0) {
			if (access(path, R_OK) < 0)
				check_report(k, errno != EACCES, param, NULL,
				    "%s: %s", path, strerror(errno));
		} else if (str_chr(word, ':') > 0 && *word.p != '[' &&
		    ascii_is_alpha(*word.p)) {
			check_table(k, param, word, false);
		}
	}
}

static void check_tables(struct check *k)
{
	for (size_t i = 0; i < sizeof(table_params) / sizeof(table_params[0]);
	    i++) {
		const char *param = table_params[i].param;
		struct str rest = str_of(check_value(k, param)), word;

		/* What alias_maps has is told once, there. */
		while (param_word(&rest, true, &word))
			if (strcmp(param, "local_recipient_maps") != 0 ||
			    str_find(str_of(check_value(k, "alias_maps")),
				word) < 0)
				check_table(k, param, word,
				    table_params[i].decides);
	}
	for (size_t i = 0; i < sizeof(list_params) / sizeof(list_params[0]);
	    i++)
		check_lists(k, list_params[i]);
}

/* 1 found, 0 not, -1: a table of the list cannot tell. */
static int find_in(const struct check *k, const char *param, const char *key)
{
	struct table_list *list;
	struct buf value;
	int found = -1;

	buf_init(&value, TABLE_VALUE_MAX);
	list = table_list_new(str_of(check_value(k, param)), &value);
	if (list != NULL)
		found = table_list_find(list, str_of(key), &value);
	table_list_free(&list);
	buf_fini(&value);
	return found;
}

/* RFC 5321 4.5.1: every domain that takes mail has a postmaster. */
static void check_postmaster(struct check *k)
{
	char address[300];

	snprintf(address, sizeof(address), "postmaster@%s",
	    check_value(k, "myorigin"));
	if (*check_value(k, "mydestination") == '\0' ||
	    find_in(k, "alias_maps", "postmaster") != 0 ||
	    find_in(k, "virtual_alias_maps", "postmaster") != 0 ||
	    find_in(k, "virtual_alias_maps", address) != 0 ||
	    getpwnam("postmaster") != NULL)
		return;
	check_report(k, false, "alias_maps", "write \"postmaster: ADDRESS\" "
	    "into aliases and run newaliases", "nobody is postmaster");
}

/* --- transports --- */

/* The service of master.cf that carries a transport, or NULL. */
static const struct master_service *find_service(const struct check *k,
    struct str name)
{
	size_t n;
	const struct master_service *s = config_services(k->c, &n);

	for (size_t i = 0; i < n; i++)
		if (s[i].type != MASTER_INET && str_eq_c(name, s[i].name))
			return &s[i];
	return NULL;
}

static void check_transport(struct check *k, const char *param,
    struct str route)
{
	static const char *const built_in[] = { "local", "virtual", "smtp",
		"lmtp", "relay", "error", "retry", "discard" };
	ssize_t colon = str_chr(route, ':');
	struct str name = colon < 0 ? route : str_sub(route, 0, (size_t)colon),
	    hop = colon < 0 ? STR_NONE : str_from(route, (size_t)colon + 1);
	const struct master_service *service = find_service(k, name);
	const struct master_command *command;

	if (name.n == 0)
		return;
	if (service != NULL) {
		command = command_find(str_of(service->command));
		if (command != NULL && command->program == NULL)
			check_report(k, true, param, command->remedy, "the "
			    "transport " STR_FMT " is carried by %s (line %u "
			    "of master.cf), which is not supported",
			    STR_ARG(name), service->command, service->line);
		else
			check_next_hop(k, param, service->command, hop);
		return;
	}
	for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++)
		if (str_eq_c(name, built_in[i])) {
			check_next_hop(k, param, built_in[i], hop);
			return;
		}
	check_report(k, true, param, "add a line for it to master.cf",
	    "the transport " STR_FMT " is no service of master.cf",
	    STR_ARG(name));
}

static int visit_transport(struct str key, struct str value, void *ctx)
{
	struct check *k = ctx;
	struct str route = str_trim(value);

	(void)key;
	check_transport(k, "transport_maps", route);
	return k->errors > 100;
}

static void check_transport_params(struct check *k)
{
	static const char *const params[] = { "local_transport",
		"virtual_transport", "relay_transport", "default_transport" };

	for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		check_transport(k, params[i],
		    str_of(check_value(k, params[i])));
}

static void check_transport_maps(struct check *k)
{
	struct str rest = str_of(check_value(k, "transport_maps")), word;
	struct table *t;
	struct buf why;
	const char *reason;

	buf_init(&why, 4096);
	while (param_word(&rest, true, &word))
		if ((t = table_new(word, &reason)) != NULL) {
			/* One that cannot be opened was told of. */
			if (!table_is_pattern(t) && !table_is_constant(t) &&
			    !table_is_users(t))
				table_each(t, visit_transport, k, &why);
			table_free(&t);
		}
	buf_fini(&why);
}

/* --- directories --- */

/* master makes what is its own, below what is there. */
static bool is_parent_there(const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[4096];
	struct stat st;

	snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1
	    : (int)(slash - path), path);
	return stat(parent, &st) == 0 || errno != ENOENT;
}

static void check_missing(struct check *k, const char *param,
    const char *path, const char *remedy)
{
	if (remedy != NULL)
		check_report(k, true, param, remedy, "%s: %s", path,
		    strerror(ENOENT));
	else if (!is_parent_there(path))
		check_report(k, true, param, "make the directory above it",
		    "%s cannot be made", path);
}

/* remedy: for one that has to be there; NULL: master makes it. */
static void check_directory(struct check *k, const char *param,
    const char *remedy)
{
	const char *path = check_value(k, param);
	struct stat st;

	if (*path == '\0')
		return;
	if (*path != '/')
		check_report(k, true, param, NULL, "%s is no whole path", path);
	else if (stat(path, &st) < 0 && errno == ENOENT)
		check_missing(k, param, path, remedy);
	else if (stat(path, &st) < 0)
		check_report(k, errno != EACCES, param, NULL, "%s: %s", path,
		    strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		check_report(k, true, param, NULL, "%s is no directory", path);
	else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		check_report(k, true, param, "chmod o-w it",
		    "%s is writable by everybody", path);
}

static void check_directories(struct check *k)
{
	check_directory(k, "queue_directory", NULL);
	check_directory(k, "data_directory", NULL);
	check_directory(k, "virtual_mailbox_base",
	    "make it, owned by the user who owns the mail");
}

/* --- users --- */

static void check_users(struct check *k)
{
	struct buf missing;
	char name[64];
	uint64_t base;

	if (geteuid() != 0 || (str_to_u64(str_of(check_value(k,
	    "service_uid_base")), UINT32_MAX, &base) == 0 && base > 0))
		return;
	buf_init(&missing, 2000);
	for (const struct sandbox *s = sandbox_programs; s->name; s++) {
		/* master and launch stay root; what launch starts is a
		 * user's. */
		if (s->capabilities != 0 || s->processes == 0)
			continue;
		snprintf(name, sizeof(name), "postern-%s", s->name);
		if (getpwnam(name) == NULL)
			buf_printf(&missing, "%s%s", missing.n ? ", " : "",
			    name);
	}
	if (missing.n > 0)
		check_report(k, true, "service_uid_base", "sysusers.d makes "
		    "them; or set service_uid_base to a free range of numbers",
		    "there are no users %s", buf_cstr(&missing));
	buf_fini(&missing);
}

/* Commands of users run without new privileges: a set-id program in them
 * does not get what it is set to. */
static void check_commands(struct check *k)
{
	struct str rest = str_of(check_value(k, "mailbox_command")), word;
	char path[4096];
	struct stat st;

	if (!str_word(&rest, " \t", &word) || *word.p != '/' ||
	    str_to_c(word, path, sizeof(path)) < 0)
		return;
	if (stat(path, &st) < 0)
		check_report(k, false, "mailbox_command", NULL, "%s: %s", path,
		    strerror(errno));
	else if (st.st_mode & (S_ISUID | S_ISGID))
		check_report(k, false, "mailbox_command", "use a program "
		    "that needs no set-id bit", "%s is set-id, which has no "
		    "effect in users' commands", path);
}

/* Whose rights what aliases start has: never root's. */
static void check_privs(struct check *k)
{
	const char *name = check_value(k, "default_privs");
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		check_report(k, true, "default_privs", NULL, "%s: no such "
		    "user", name);
	else if (pw->pw_uid == 0)
		check_report(k, true, "default_privs", "name a user without "
		    "rights, such as nobody", "%s is root", name);
}

/* NULL: it complained. All problems of the two files are told. */
static struct config *read_config(struct check *k)
{
	const struct config_problem *p;
	struct config *c;
	size_t n;
	int fd;

	fd = open(k->ctx->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		complain("%s: %s", k->ctx->config_dir, strerror(errno));
		return NULL;
	}
	c = config_read(fd, k->ctx->config_dir, 0);
	close(fd);
	if (c == NULL) {
		complain("out of memory");
		return NULL;
	}
	k->c = c;
	p = config_problems(c, &n);
	for (size_t i = 0; i < n; i++)
		print_problem(k, &p[i]);
	return c;
}

int check_before_start(const struct context *ctx)
{
	struct check k = { .ctx = ctx, .quiet = true };
	struct config *c = read_config(&k);

	if (c == NULL)
		return -1;
	/* Without main.cf there is nothing but defaults to look at. */
	if (config_has_main(c)) {
		check_network(&k);
		check_transport_params(&k);
		check_directories(&k);
	}
	config_free(&c);
	return k.errors > 0 ? -1 : 0;
}

static int run_check(const struct context *ctx, int argc, char **argv)
{
	struct check k = { .ctx = ctx };
	struct config *c;
	int opt;

	while ((opt = getopt(argc, argv, "q")) != -1) {
		if (opt != 'q')
			return wrong_usage(&command_check);
		k.quiet = true;
	}
	if (optind != argc)
		return wrong_usage(&command_check);
	if ((c = read_config(&k)) == NULL)
		return 1;
	if (config_has_main(c)) {
		check_tables(&k);
		check_postmaster(&k);
		check_transport_params(&k);
		check_transport_maps(&k);
		check_network(&k);
		check_keys(&k);
		check_directories(&k);
		check_users_file(&k);
		check_users(&k);
		check_commands(&k);
		check_privs(&k);
	}
	config_free(&c);
	if (!k.quiet || k.errors > 0)
		printf("%s: %zu error%s, %zu warning%s\n", ctx->config_dir,
		    k.errors, k.errors == 1 ? "" : "s", k.warnings,
		    k.warnings == 1 ? "" : "s");
	return k.errors > 0;
}

const struct command command_check = { "check", NULL, run_check, "[-q]",
	"report every mistake of the configuration" };
