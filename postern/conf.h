/* conf.h - the parts of postern conf */
#ifndef POSTERN_CONF_H
#define POSTERN_CONF_H
#include "base/buf.h"
#include "config/config.h"

enum conf_edit { CONF_SET, CONF_REMOVE, CONF_COMMENT };

/*
 * A file of the configuration, locked against other editors, its text, and
 * what is to take its place.
 */
struct conf_file {
	const char *directory, *name;
	int dirfd, fd;
	struct buf text, changed;
};

/* 0, or -1 (complained). */
int conf_file_open(struct conf_file *, const char *directory,
    const char *name);
/* `changed` takes the place of the file, with its owner and mode. */
int conf_file_replace(struct conf_file *);
void conf_file_close(struct conf_file *);

/* conf_main.c: args are "name=value" (CONF_SET) or names. Exit status. */
int conf_edit_main(const char *directory, enum conf_edit, int argc,
    char **argv);

/* conf_services.c: what "postconf -M", -F and -P do. */
enum conf_view { CONF_LINES, CONF_FIELDS, CONF_OPTIONS };
struct conf_style {
	bool fold, values_only, names_only;
};
int conf_print_services(const char *directory, enum conf_view,
    const struct conf_style *, int argc, char **argv);
int conf_edit_services(const char *directory, enum conf_view, enum conf_edit,
    int argc, char **argv);

/* conf_man.c: main.cf(5) from the table of parameters. */
int conf_print_manual(void);
#endif
