/*
 * qmgr.h - between the files of serve_qmgr: qmgr, its spool and its neighbours
 *
 *   qmgr_neighbours.c   whose mail it is: cleanup, agents, lookup
 *   qmgr_hostile.c      the one among them that was taken over
 *   qmgr_spool.c        disk threads, and what must be on the disk
 */
#ifndef FUZZ_FAKES_QMGR_H
#define FUZZ_FAKES_QMGR_H
#include "qmgr/qmgr.h"
#include "tests/fuzz/fakes/conv.h"
#include "tests/fuzz/fuzz.h"

#define MAILS 6

extern struct qmgr qmgr;
extern struct fuzz_in *input;

/* --- the messages of others (qmgr_neighbours.c) --- */

struct wanted {
	const char *rcpts[2], *transports[2], *nexthops[2];
	bool untold;		/* its commit is not told */
};
extern const struct wanted wanted[MAILS];
#define MAIL_CONTENT "Subject: of somebody else\r\n\r\nkept\r\n"

struct side;

struct rcpt {
	enum { OPEN, SENT, FAILED } state;
	struct side *has;	/* the honest agent that has it */
	uint64_t job;
};

struct mail {
	uint64_t id;		/* 0: not given yet */
	int fd;			/* of cleanup; -1: closed */
	bool committed, free;	/* free: its fate is an operator's now */
	unsigned deaths;	/* of honest agents that had it */
	struct rcpt rcpts[2];
};
extern struct mail mails[MAILS];

size_t mail_rcpts(const struct wanted *);
/* NULL: it is another's. */
struct mail *mail_find(struct str queue_id);
/* It is settled by the honest alone. */
bool mail_is_kept(const struct mail *, size_t rcpt);
/* Such a recipient waits for his mail. */
bool mail_is_open(const struct mail *);
/* 0: what is in the file is a message. */
int mail_write(int fd, uint64_t id, const struct wanted *);

/* Honest agents: local, smtp, bounce. */
#define HELD_MAX 64
#define SIDES 3
struct side {
	const char *program;
	struct conv *conv;
	struct { struct mail *mail; uint32_t index; unsigned status; }
	    held[HELD_MAX];
	size_t held_count;
	/* Notices, and messages of the hostile cleanup's. */
	size_t others;
	struct { char id[QUEUE_ID_SIZE]; uint64_t job, *indexes; size_t n; }
	    other[HELD_MAX];
};
extern struct side sides[SIDES];

/* As lib/service/agent.c comes: what is held, what runs. */
void side_come(struct side *);
/* Its conversation breaks; or its process dies, and what it delivered and did
 * not tell of comes again. */
void side_leave(struct side *, bool dies);
/* It has a result of something that it runs. */
void side_answer(struct side *, unsigned status);

/* The honest cleanup; conv_fd() of its last conversation, or -1. */
extern int cleanup_fd;
void cleanup_come(void);
void cleanup_leave(void);
/* Asks for so many files. */
void cleanup_want(struct conv *, uint64_t files);
/* Commits it, if it has a file for it. */
void cleanup_commit(struct mail *);

/* What there is for any of them is heard. */
void honest_fire(void);
/* No message, no agent, no cleanup: before an input. */
void honest_forget(void);
void lookup_hear(struct conv *, const struct msg_schema *, const void *msg);

/* --- the hostile one (qmgr_hostile.c) --- */

/* "cleanup", "local", "smtp", "bounce" or "pickup". */
extern const char *hostile;
extern int his[2];		/* conv_fd(); qmgr may have closed it */

bool hostile_is(const char *program);
/* As an honest one begins; then it is his. */
void hostile_begin(void);
void hostile_come(size_t i);
void hostile_say(struct conv *);
/* Into a file of his: a message, a header alone, anything, nothing. */
void hostile_write(void);
/* He is gone, and qmgr has found out. */
void hostile_end(void);

/* --- the spool (qmgr_spool.c) --- */

/* Spare files are used up; else they go on being spare. */
extern bool spool_ages;

/* Makes it, in memory, and starts qmgr on it. */
void spool_start(const struct params *);
/* The loop hears of what a disk thread has done. False: of nothing. */
bool spool_collect(void);
/* All that disk threads have to do is done; false: they had nothing. */
bool spool_settle(void);
void spool_drop_spares(void);
/* In any place; false: nowhere. */
bool spool_find(uint64_t id, struct queue_name *);
/* A message is there, and is what was committed. */
void spool_check(const struct mail *);
/* So are all that wait for somebody honest. */
void spool_check_all(void);
/* There is no file at all. */
void spool_check_empty(void);
#endif
