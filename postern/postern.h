/*
 * postern.h - the operator's command: a verb is a row, a file, a function
 *
 * The same binary answers to the names that scripts know (mailq, postconf,
 * ...): a row's `names` are those. A command gets its own arguments, argv[0]
 * being the verb or the name.
 */
#ifndef POSTERN_POSTERN_H
#define POSTERN_POSTERN_H
#include <stdbool.h>
#include "base/str.h"

struct context {
	const char *config_dir;	/* -c, or MAIL_CONFIG, or the default */
	const char *program;	/* as called, for messages */
};

struct command {
	const char *verb;	/* "init"; NULL: only by its names */
	const char *names;	/* "postconf" or "mailq postqueue", or NULL */
	int (*run)(const struct context *, int argc, char **argv);
	const char *usage;	/* arguments; VERB --help prints it */
	const char *help;	/* one line */
};

/* Each is defined in cmd_<verb>.c; the table is in main.c. */
extern const struct command command_init, command_start, command_stop,
    command_reload, command_status, command_check, command_conf, command_map,
    command_alias, command_newaliases, command_queue, command_mailq,
    command_postqueue,
    command_postsuper, command_postcat, command_user;

/* The verb's usage to standard error; 64, the exit code for that. */
int wrong_usage(const struct command *);
/* "program: text" to standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The pid of the instance's master, 0 when it does not run, -1 on error.
 * data_directory is open on dirfd. */
int instance_pid(const char *data_directory);
/* Opens a program of the suite (O_PATH) and gives its path; -1 and complains. */
int find_program(const char *name, char *path, size_t size);

/* Builds the tables of a new instance (aliases). 0 or -1 (complained). */
int init_build_tables(const struct context *);

/* A new hash of the password for the users file ("{CRYPT}$y$..."), in
 * out[size]; 0 or -1 (complains). yescrypt, crypt(5). */
int hash_password(const char *password, char *out, size_t size);
#endif
