/* commands.h - the names that stand in master.cf's last column */
#ifndef CONFIG_COMMANDS_H
#define CONFIG_COMMANDS_H
#include <stdbool.h>
#include "base/str.h"

/* What it means that no program of the suite answers for a command. */
enum command_absence {
	COMMAND_NEEDLESS,	/* nothing: remedy says who does it instead */
	COMMAND_MISSED,		/* mail for such a transport is deferred */
	COMMAND_REFUSED,	/* mail would not come in, or unchecked */
};

/* A command of master.cf and the program that answers for it, or NULL:
 * then nothing is started for the line. */
struct master_command {
	const char *name, *program;
	enum command_absence absence;
	const char *remedy;
};

const struct master_command *command_find(struct str name);
/* All names, and NULL at the end. */
const char *const *command_names(void);
#endif
