/*
 * control.h - what `master` (and `launch`) and a program they started say
 *
 *   master                         program
 *     control_start  ------------->          once, first
 *     control_give   ------------->          once for each descriptor
 *     control_go     ------------->
 *                    <-------------  control_ready   walls are up
 *     control_give   ------------->          CONTROL_SERVE: one for each
 *                                            process of a client, as those
 *                                            come and go
 *     control_drain  ------------->          run dry, then exit 0 (reload)
 *     control_stop   ------------->          say farewell, then exit 0
 *                    <-------------  control_idle    nothing to do for long
 *
 * End of file on it means that the parent is gone: the program ends.
 */
#ifndef MSGS_CONTROL_H
#define MSGS_CONTROL_H
#include "ipc/msg.h"

struct control_start {
	struct str program;   /* row of sandbox.def */
	struct str service;   /* name in master.cf, for the log ("smtpd") */
	struct str arg;       /* launched programs: the user's address */
	struct str dir;       /* launched programs: below the "mail" directory */
	struct strs params;   /* "name=value" that differ from the default */
	uint64_t uid, gid;    /* to become; UINT32_MAX: stay */
	uint64_t session_max; /* sessions this process may serve at once */
	uint64_t idle_max;    /* seconds without a session after which it ends;
				 0: never */
	bool confine_dir;     /* confine to `dir`, not to the whole directory */
};

/* What the descriptor is. */
enum control_kind {
	CONTROL_LISTEN = 1, /* listening socket; name: service's name */
	CONTROL_ASK,        /* client's end of an edge; name: the server */
	CONTROL_SERVE,      /* server's end of an edge to one process; name:
			     * the client's */
	CONTROL_DIR,        /* directory; name: its role ("spool", "mail") */
	CONTROL_FILE,       /* open file; name: parameter it is the value of */
	CONTROL_LOG,        /* datagrams to `log`, one line each */
	CONTROL_EXEC,       /* program file, for `launch`; name: program */
	CONTROL_ROOT,       /* empty directory to chroot into */
};

struct control_give {
	uint64_t kind;
	struct str name;
	int fd;
	uint64_t most; /* SERVE: conversations at a time */
};

/* The name of the nth file (from 0) of a parameter that is several: "NAME",
 * "NAME 1", "NAME 2", ... */
#define CONTROL_NAME_MAX 80
void control_nth_name(char out[CONTROL_NAME_MAX], const char *param,
    size_t nth);

extern const struct msg_schema control_start_schema;
extern const struct msg_schema control_give_schema;
extern const struct msg_schema control_go_schema;    /* empty */
extern const struct msg_schema control_ready_schema; /* empty */
extern const struct msg_schema control_drain_schema; /* empty */
extern const struct msg_schema control_stop_schema;  /* empty */
extern const struct msg_schema control_idle_schema;  /* empty */
#endif
