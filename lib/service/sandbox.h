/* sandbox.h - the walls of a program, from its row in sandbox.def */
#ifndef SERVICE_SANDBOX_H
#define SERVICE_SANDBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sandbox_root { SANDBOX_EMPTY, SANDBOX_HOST };

enum sandbox_calls {
	SANDBOX_FILES = 1, SANDBOX_NET = 2, SANDBOX_DIAL = 4,
	SANDBOX_SPAWN = 8, SANDBOX_NOTIFY = 16, SANDBOX_LEASE = 32,
};

struct sandbox {
	const char *name;
	unsigned number;
	unsigned processes;
	uint64_t capabilities; /* bit n: capability n of capability(7) */
	enum sandbox_root root;
	const char *directories;
	unsigned calls;
};

struct sandbox_edge {
	const char *client, *server, *what;
};

/* End with a NULL name (client). */
extern const struct sandbox sandbox_programs[];
extern const struct sandbox_edge sandbox_edges[];
const struct sandbox *sandbox_find(const char *program);
/* The rights ("r", "w", "x") of a role in `directories`, or NULL. */
const char *sandbox_rights(const struct sandbox *, const char *role,
    char out[8]);

/* A directory or file the program may reach, with its rights. */
struct sandbox_path {
	int fd;
	const char *rights;
};

struct sandbox_identity {
	uid_t uid;		/* (uid_t)-1: stay as we are */
	gid_t gid;
	int root_fd;		/* empty directory, or -1 */
};

/*
 * Puts up the walls in one order, verified: not dumpable, no core, no new
 * privileges; root directory; groups, gid, uid; capabilities; Landlock;
 * system calls. A wall that this kernel lacks is named in *missing (""
 * when none lacks); anything else that fails is fatal for the caller: -1
 * and *why.
 */
int sandbox_enter(const struct sandbox *, const struct sandbox_identity *,
    const struct sandbox_path *, size_t count, char missing[64],
    const char **why);
#endif
