/*
 * service.h - the one skeleton of every program that `master` starts
 *
 * A program fills in a struct service and calls service_main(), which takes
 * its parameters and descriptors from the parent over the control socket
 * (descriptor 3, msgs/control.h), calls start(), puts up the walls that its
 * row in sandbox.def says, calls ready(), and serves:
 *
 *   session()   a thread for each connection accepted from a listener
 *   converse()  a thread for each conversation that arrives over an edge
 *   run()       instead of both: the program's own loop; conversations and
 *               connections are given to arrived() in the loop's thread
 *
 * Reload: the old process stops to accept and ends when its sessions did.
 * Stop: sessions' sockets are shut down for reading, so that they find the
 * end of input, see service_stopping() and say farewell.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H
#include <sys/socket.h>
#include "base/loop.h"
#include "config/params.h"
#include "ipc/conv.h"

/* Where an accepted connection comes from. */
struct service_client {
	const char *listener;	/* name of the service in master.cf */
	struct sockaddr_storage peer, local;
	socklen_t peer_len, local_len;
};

struct service {
	const char *name;	/* its row in sandbox.def */
	/* Before the walls, with root's rights if the instance has them: open
	 * what cannot be opened later. May be NULL. 0 or -1 (logged). */
	int (*start)(void);
	/* Behind the walls, before the first client. May be NULL. */
	int (*ready)(struct loop *);
	/* Owns fd. */
	void (*session)(int fd, const struct service_client *);
	/* Owns the conversation; returns when it is over. `client` is the
	 * program at the other end of the edge. */
	void (*converse)(struct conv *, const char *client);
	/* For a program with a loop: as session/converse, but called in the
	 * loop's thread and must not wait. */
	void (*session_arrived)(int fd, const struct service_client *);
	void (*conv_arrived)(struct conv *, const char *client);
	/* In the main thread: the process is to end (stopping) or to run dry
	 * (reload). When the program has work of its own in flight it returns
	 * false and calls service_done() later. May be NULL. */
	bool (*drain)(bool stopping);
	size_t stack;		/* octets of a thread's stack; 0: 192 KiB */
	/* A launched program that has work for a system user whose home is
	 * not there or is closed to him: service_dir("mail") is -1 then.
	 * Without this it does not start. */
	bool without_home;
};

int service_main(int argc, char **argv, const struct service *);

/* Octets of a queue file beside its content of message_size_limit: header,
 * envelope, fields that we add. Who has no directory can make no file larger
 * than both together (RLIMIT_FSIZE); without a message_size_limit any. */
#define SERVICE_FILE_ROOM (32 * 1024 * 1024)

/* --- while it runs; all thread-safe, all constant after start --- */

const struct params *service_params(void);
/* Name in master.cf of the service that this process carries. */
const char *service_name(void);
/* Launched programs: the user's address, and his directory below "mail" (or
 * absolute, for system users). Else "". */
const char *service_arg(void);
const char *service_dir_arg(void);
/* The client's end of the edge to that program, or NULL: no such edge. */
struct edge *service_edge(const char *server);
/* A directory that sandbox.def gives us: "spool", "etc", "mail",
 * "maildrop", "data". -1: not given. */
int service_dir(const char *role);
/* The open file behind a parameter ("smtpd_tls_cert_file"; one of several:
 * control_nth_name()), or -1. */
int service_file(const char *param);
/* `launch`: program file by name, or -1. */
int service_exec(const char *program);
/* `launch`: the parameters as they came, and where log lines go, to hand
 * them on. */
struct strs service_pairs(void);
int service_log_fd(void);
/* Becomes true when the process is to end now / to run dry. */
bool service_stopping(void);
bool service_draining(void);
/* drain() returned false: now there is nothing left to do. */
void service_done(void);
/* Uid and gid that the process runs as, and whether root started it. */
bool service_is_privileged(void);
/* Sessions that this process may serve at once: an agent's capacity. */
size_t service_session_max(void);

/*
 * For converse(): waits for the first message of the next exchange, without
 * a deadline. While it waits the conversation is idle and a drain ends it
 * (CONV_CLOSED). Otherwise as conv_recv().
 */
enum conv_got service_recv(struct conv *, const struct msg_schema *const *,
    size_t, const struct msg_schema **schema_r, void *msg,
    const char **why_r);
/*
 * One question to another program: opens (or reuses) a conversation on its
 * edge, asks, gets the reply and keeps the conversation. A kept conversation
 * that turns out to be dead before the question was taken is replaced once.
 * Views in *rep live until `conv_r` is given back: the caller must
 * conv_keep(conv_r) after using the reply. On failure -1, why_r, *conv_r
 * NULL. timeout_us: for all of it.
 */
int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r);
/*
 * A thread of our own (workers of an agent, disk threads), with the
 * program's stack size. 0 or -1 with errno.
 */
int service_thread(void (*fn)(void *), void *arg);
#endif
