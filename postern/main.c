/*
 * postern - the operator's command
 *
 * Hears from:  the operator
 * Talks to:    master (signals, the lock of its pid file); pickup, which
 *              passes on to qmgr (msgs/queue.h)
 * Runs as:     the operator
 * Owns:        the files it is told to write: etc/, tables, the users file
 * Start at:    the table `commands`
 * RFCs:        none
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "postern/postern.h"

static const struct command *const commands[] = {
	&command_init, &command_start, &command_stop, &command_reload,
	&command_status,
#include "postern/commands.def"
};

static const char *program = "postern";

void complain(const char *fmt, ...)
{
	char text[4096];
	struct buf shown;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* names of files and ids are whatever somebody likes */
	buf_init(&shown, 4 * sizeof(text) + 1);
	log_append_shown(&shown, str_of(text));
	fprintf(stderr, "%s: %s\n", program, buf_cstr(&shown));
	buf_fini(&shown);
}

int find_program(const char *name, char *path, size_t size)
{
	/* as built, and as installed, wherever the tree was put */
	static const char *const beside[] = { "", "/../libexec/postern",
		"/../sbin" };
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir;
	int fd;

	if (n > 0) {
		self[n] = '\0';
		dir = dirname(self);
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]);
		    i++) {
			snprintf(path, size, "%s%s/%s", dir, beside[i], name);
			fd = open(path, O_PATH | O_CLOEXEC);
			if (fd >= 0)
				return fd;
		}
	}
	snprintf(path, size, "%s/%s", POSTERN_LIBEXECDIR, name);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		complain("program %s is neither beside this one nor in %s",
		    name, POSTERN_LIBEXECDIR);
	return fd;
}

static bool has_name(const struct command *c, const char *name)
{
	struct str rest = c->names ? str_of(c->names) : STR_NONE, word;

	while (str_word(&rest, " ", &word))
		if (str_eq_c(word, name))
			return true;
	return false;
}

static void print_usage(FILE *out, const struct command *c)
{
	fprintf(out, "usage: postern %s%s%s\n", c->verb,
	    c->usage[0] ? " " : "", c->usage);
}

int wrong_usage(const struct command *c)
{
	print_usage(stderr, c);
	return 64;
}

static int run_verb(const struct context *ctx, const struct command *c,
    int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		print_usage(stdout, c);
		printf("%s\n", c->help);
		return 0;
	}
	optind = 0; /* getopt(3): begin anew, permuting */
	return c->run(ctx, argc, argv);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: postern [-c DIRECTORY] VERB [ARGUMENT]...\n\n"
	    "  -c DIRECTORY  configuration (default %s)\n\nverbs:\n",
	    POSTERN_SYSCONFDIR);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i]->verb != NULL)
			fprintf(out, "  %-*s%s%s\n           %s\n",
			    commands[i]->usage[0] ? 8 : 0, commands[i]->verb,
			    commands[i]->usage[0] ? " " : "",
			    commands[i]->usage, commands[i]->help);
	fprintf(out, "\nsee postern(1)\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};
	struct context ctx = { .config_dir = getenv("MAIL_CONFIG") };
	char *name = basename(argv[0]);
	int c;

	log_set_name(name);
	program = name;
	ctx.program = name;
	if (ctx.config_dir == NULL || ctx.config_dir[0] == '\0')
		ctx.config_dir = POSTERN_SYSCONFDIR;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (has_name(commands[i], name))
			return commands[i]->run(&ctx, argc, argv);
	while ((c = getopt_long(argc, argv, "+c:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ctx.config_dir = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("postern %s\n", POSTERN_VERSION);
			return 0;
		default:
			usage(stderr);
			return 64;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 64;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i]->verb != NULL &&
		    strcmp(commands[i]->verb, argv[optind]) == 0)
			return run_verb(&ctx, commands[i], argc - optind,
			    argv + optind);
	complain("there is no verb \"%s\"; postern -h lists them",
	    argv[optind]);
	return 64;
}
