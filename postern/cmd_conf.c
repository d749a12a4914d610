/*
 * cmd_conf.c - postern conf, postconf: the configuration shown and changed
 *
 * The options are Postfix's, because installers and scripts depend on them.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "config/params.h"
#include "postern/conf.h"
#include "postern/postern.h"
#include "table/table.h"

#define NAMES_MAX 4096

struct conf {
	const char *directory;
	struct config *c;
	struct conf_style style;
	bool defaults;	/* -d */
	bool set_only;	/* -n */
	bool expand;	/* -x */
	const char *class; /* -C: builtin, service, user, all */
	struct buf more; /* -o */
	struct arena *arena;
};

/*
 * Where things are installed: no parameters here, but scripts ask for them
 * by the names that Postfix has.
 */
static const char *installed(struct conf *k, const char *name)
{
	static const struct {
		const char *name, *program;
	} commands[] = { { "sendmail_path", "sendmail" },
		{ "mailq_path", "mailq" }, { "newaliases_path",
		"newaliases" } };
	char self[PATH_MAX];
	ssize_t n;

	if (strcmp(name, "daemon_directory") == 0)
		return POSTERN_LIBEXECDIR;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return NULL;
	self[n] = '\0';
	if (strcmp(name, "command_directory") == 0)
		return arena_cstr(k->arena, str_of(dirname(self)));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return arena_printf(k->arena, "%s/%s", dirname(self),
			    commands[i].program).p;
	return NULL;
}

/* A value in one line, with one space between its words. */
static const char *one_line(struct conf *k, const char *text, bool fold,
    size_t column)
{
	struct str rest = str_of(text), word;
	struct buf out;
	const char *result;
	size_t start = 0;

	buf_init(&out, 1024 * 1024);
	while (str_word(&rest, " \t\r\n", &word)) {
		if (out.n > 0 && fold &&
		    column + out.n - start + 1 + word.n > 78) {
			buf_append_c(&out, "\n    ");
			start = out.n;
			column = 4;
		} else if (out.n > 0) {
			buf_append_char(&out, ' ');
		}
		buf_append(&out, word);
	}
	result = arena_cstr(k->arena, buf_str(&out));
	buf_fini(&out);
	return result ? result : "";
}

static void print_pair(struct conf *k, const char *name, const char *value)
{
	if (k->style.names_only)
		puts(name);
	else if (k->style.values_only)
		puts(one_line(k, value, k->style.fold, 0));
	else
		printf("%s = %s\n", name, one_line(k, value, k->style.fold,
		    strlen(name) + 3));
}

/* The text to show for a name, or NULL. */
static const char *text_of(struct conf *k, const char *name)
{
	const char *raw;

	if (k->expand && !k->defaults && config_value(k->c, name) != NULL)
		return config_value(k->c, name);
	if (!k->defaults && (raw = config_raw(k->c, name)) != NULL)
		return raw;
	if (k->set_only)
		return NULL;
	if ((raw = config_default(k->c, name)) != NULL)
		return raw;
	return installed(k, name);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has_class(const struct conf *k, bool is_row)
{
	if (k->class == NULL || strcmp(k->class, "all") == 0)
		return true;
	return strcmp(k->class, is_row ? "builtin" : "user") == 0;
}

/* All parameters, or those that main.cf sets, by name. */
static void print_all(struct conf *k)
{
	const char *names[NAMES_MAX], *name, *text;
	size_t n = 0;

	for (const struct param *p = params_table; p->name != NULL; p++)
		if (n < NAMES_MAX && has_class(k, true))
			names[n++] = p->name;
	for (size_t i = 0; !k->defaults &&
	    (name = config_nth_name(k->c, i)) != NULL; i++)
		if (n < NAMES_MAX && param_find(str_of(name)) == NULL &&
		    has_class(k, false))
			names[n++] = name;
	qsort(names, n, sizeof(names[0]), compare_names);
	for (size_t i = 0; i < n; i++) {
		if (k->set_only && config_raw(k->c, names[i]) == NULL)
			continue;
		if ((text = text_of(k, names[i])) != NULL)
			print_pair(k, names[i], text);
	}
}

static int print_parameters(struct conf *k, int argc, char **argv)
{
	int fd = open(k->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *text;

	if (fd < 0) {
		complain("%s: %s", k->directory, strerror(errno));
		return 1;
	}
	k->c = config_read_with(fd, k->directory, CONFIG_NO_TRUST |
	    CONFIG_NO_MASTER, buf_str(&k->more));
	close(fd);
	if (k->c == NULL) {
		complain("out of memory");
		return 1;
	}
	if (argc == 0)
		print_all(k);
	for (int i = 0; i < argc; i++) {
		if ((text = text_of(k, argv[i])) != NULL)
			print_pair(k, argv[i], text);
		else if (!k->set_only)
			complain("warning: %s: unknown parameter", argv[i]);
	}
	config_free(&k->c);
	return 0;
}

static int print_types(void)
{
	for (size_t i = 0; table_nth_type(i) != NULL; i++)
		puts(table_nth_type(i));
	puts("proxy");
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
	    "usage: postconf [-dfhHnpvx] [-c DIRECTORY] [-C CLASS] "
	    "[-o NAME=VALUE] [NAME]...\n"
	    "       postconf [-e] [-c DIRECTORY] NAME=VALUE...\n"
	    "       postconf -X | -# [-c DIRECTORY] NAME...\n"
	    "       postconf -M [-efX#] [SERVICE[/TYPE[=LINE]]]...\n"
	    "       postconf -F [-efhH] [SERVICE/TYPE/FIELD[=VALUE]]...\n"
	    "       postconf -P [-efhHX] [SERVICE/TYPE/NAME[=VALUE]]...\n"
	    "       postconf -a | -A | -l | -m | --man\n");
	return 64;
}

static bool all_have_equals(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strchr(argv[i], '=') == NULL)
			return false;
	return argc > 0;
}

/* What is asked for beside parameters. */
enum conf_mode { MODE_MAIN = 'p', MODE_LINES = 'M', MODE_FIELDS = 'F',
	MODE_OPTIONS = 'P', MODE_TYPES = 'm', MODE_LOCKS = 'l',
	MODE_SERVER_SASL = 'a', MODE_CLIENT_SASL = 'A', MODE_MANUAL = 1 };

static int run_mode(struct conf *k, enum conf_mode mode, int edit, int argc,
    char **argv)
{
	enum conf_view view = mode == MODE_LINES ? CONF_LINES
	    : mode == MODE_FIELDS ? CONF_FIELDS : CONF_OPTIONS;

	/* NAME=VALUE changes, also without -e. */
	if (edit < 0 && (mode == MODE_MAIN || mode == MODE_LINES ||
	    mode == MODE_FIELDS || mode == MODE_OPTIONS) &&
	    all_have_equals(argc, argv))
		edit = CONF_SET;
	switch (mode) {
	case MODE_MAIN:
		if (edit >= 0)
			return argc > 0 ? conf_edit_main(k->directory,
			    (enum conf_edit)edit, argc, argv) : usage();
		return print_parameters(k, argc, argv);
	case MODE_LINES:
	case MODE_FIELDS:
	case MODE_OPTIONS:
		if (edit == CONF_COMMENT && view != CONF_LINES)
			return usage();
		if (edit == CONF_REMOVE && view == CONF_FIELDS)
			return usage();
		if (edit >= 0)
			return argc > 0 ? conf_edit_services(k->directory,
			    view, (enum conf_edit)edit, argc, argv) : usage();
		return conf_print_services(k->directory, view, &k->style,
		    argc, argv);
	case MODE_TYPES:
		return print_types();
	case MODE_LOCKS:
		puts("flock");
		return 0;
	case MODE_SERVER_SASL:
		puts("postern");
		return 0;
	case MODE_CLIENT_SASL:
		return 0;
	case MODE_MANUAL:
		return conf_print_manual();
	}
	return usage();
}

static int parse_and_run(struct conf *k, int argc, char **argv)
{
	static const struct option options[] = {
		{ "man", no_argument, NULL, MODE_MANUAL }, { 0 } };
	enum conf_mode mode = MODE_MAIN;
	int edit = -1, c;

	while ((c = getopt_long(argc, argv, "aAc:C:deEfFhHlmMno:pPvxX#",
	    options, NULL)) != -1) {
		switch (c) {
		case 'c': k->directory = optarg; break;
		case 'C': k->class = optarg; break;
		case 'd': k->defaults = true; break;
		case 'e': edit = CONF_SET; break;
		case 'f': k->style.fold = true; break;
		case 'h': k->style.values_only = true; break;
		case 'H': k->style.names_only = true; break;
		case 'n': k->set_only = true; break;
		case 'o':
			buf_printf(&k->more, "%s\n", optarg);
			break;
		case 'v': break; /* nothing more is said */
		case 'x': k->expand = true; break;
		case 'X': edit = CONF_REMOVE; break;
		case '#': edit = CONF_COMMENT; break;
		case 'p': case 'M': case 'F': case 'P': case 'm': case 'l':
		case 'a': case 'A': case MODE_MANUAL:
			mode = (enum conf_mode)c;
			break;
		default: return usage();
		}
	}
	if ((k->defaults && k->set_only) || (k->class != NULL &&
	    strcmp(k->class, "all") != 0 && strcmp(k->class, "builtin") != 0 &&
	    strcmp(k->class, "user") != 0 && strcmp(k->class, "service") != 0))
		return usage();
	return run_mode(k, mode, edit, argc - optind, argv + optind);
}

static int run_conf(const struct context *ctx, int argc, char **argv)
{
	struct conf k = { .directory = ctx->config_dir };
	int rc;

	buf_init(&k.more, 1024 * 1024);
	k.arena = arena_new(64 * 1024 * 1024);
	rc = k.arena ? parse_and_run(&k, argc, argv) : 1;
	arena_free(&k.arena);
	buf_fini(&k.more);
	if (fflush(stdout) != 0 && rc == 0) {
		complain("standard output: %s", strerror(errno));
		rc = 1;
	}
	return rc;
}

const struct command command_conf = { "conf", "postconf", run_conf,
	"[-aAdefFhHlmMnpPvxX#] [-c DIRECTORY] [-C CLASS] [-o NAME=VALUE]\n"
	"           [--man] [NAME[=VALUE]]...",
	"show or change the configuration: postconf(1)" };
