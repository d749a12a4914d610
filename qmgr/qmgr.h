/*
 * qmgr.h - what the parts of `qmgr` share
 *
 * Everything here belongs to the loop's thread, but for struct registry
 * (its own lock) and what is handed to a disk thread until it comes back.
 */
#ifndef QMGR_QMGR_H
#define QMGR_QMGR_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "base/log.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/map.h"
#include "config/params.h"
#include "ipc/conv.h"
#include "msgs/agent.h"
#include "msgs/queue.h"
#include "queue/done.h"
#include "queue/recover.h"

#define QMGR_DISK_THREADS 4
/* So many agents that die of a message are its fault. */
#define QMGR_CRASHES 3
/* Results wait so long for company before they are synced. */
#define QMGR_RECORD_DELAY (3 * CLOCK_MS)
/* Octets of messages in memory; beyond it (and one message more from each who
 * reads some) they stay on the disk. cleanup bounds what is in one of them, but
 * one that was taken over writes what it likes. */
#define QMGR_OCTETS_MAX (512u << 20)
/* After a break in a conversation an agent may come back with its results. */
#define QMGR_AGENT_GRACE (2 * CLOCK_SECOND)

/* --- messages (message.c) --- */

enum recipient_state {
	RCPT_WAITING,		/* in a job that no agent has */
	RCPT_HANDED,		/* an agent has it */
	RCPT_SENT,		/* delivered, on its way into `done` */
	RCPT_RECORDED,		/* delivered, and `done` knows */
	RCPT_DEFERRED,
	RCPT_FAILED,		/* the text is only here */
	RCPT_FAILED_LOGGED,	/* in the file's log; a notice may be due */
	RCPT_CLOSED		/* nothing is left to do */
};

/* What an agent said of a recipient that is not simply delivered. */
struct outcome {
	struct str status, host, text, diagnostic; /* behind the struct */
};

struct job;

struct recipient {
	struct str address, original, orcpt, transport, nexthop;
	unsigned notify;
	enum recipient_state state;
	bool success_due;	/* NOTIFY=SUCCESS, and it is ours to tell */
	bool relayed;		/* to a host that does not tell */
	struct job *job;
	struct outcome *outcome;
	unsigned holder;	/* serial of the agent that waits for word; 0 */
};

enum message_state {
	MESSAGE_PARKED,		/* known, its recipients not yet in jobs */
	MESSAGE_ACTIVE,
	MESSAGE_LOGGING,	/* results go to the file's log */
	MESSAGE_NOTIFYING,	/* `bounce` writes a notice */
	MESSAGE_CLOSING,	/* its file is renamed or unlinked */
	MESSAGE_STATE_COUNT
};

/* What an operator wants to be done as soon as no agent has it. */
enum message_wish { WISH_NONE, WISH_HOLD, WISH_DELETE, WISH_REQUEUE };

enum { NOTICE_FAILED, NOTICE_DELAYED, NOTICE_SUCCESS, NOTICE_COUNT };

struct message {
	TAILQ_ENTRY(message) link;
	uint64_t id;
	char text[QUEUE_ID_SIZE];
	struct queue_name name;
	enum message_state state;
	int64_t arrival, active;	/* clock_wall() */
	uint64_t size;
	size_t octets;		/* of memory */
	unsigned flags;
	uint64_t ret;
	struct str sender, envid;
	struct recipient *recipients;
	size_t recipient_count;
	size_t open;		/* waiting or handed */
	size_t unrecorded;	/* sent, `done` does not know yet */
	size_t recording;	/* of these, on the way to the disk */
	unsigned notices;	/* bits: still to be written in this round */
	int notice;		/* which is being written, or -1 */
	struct job *notice_job;
	bool warned, expire, flushed;
	bool fails;		/* log or rename failed: leave it for later */
	bool notice_failed;
	unsigned crashes;	/* agents that died while they had it */
	enum message_wish wish;
	/* Under the registry's lock, for all threads: */
	enum message_wish wished;
	bool expire_wished, closed;
};
TAILQ_HEAD(message_list, message);

/* --- jobs and where they go (schedule.c) --- */

struct agent;
struct transport;

struct job {
	TAILQ_ENTRY(job) link;
	struct message *message;
	struct destination *destination;
	struct agent *agent;	/* NULL: waits */
	int64_t lost;		/* its agent's conversation broke at */
	uint64_t number;
	uint64_t why;		/* notices */
	size_t open;		/* recipients without a result */
	size_t count;
	uint32_t indexes[];
};
TAILQ_HEAD(job_list, job);

struct destination {
	TAILQ_ENTRY(destination) link;	/* in transport->ready */
	struct transport *transport;
	struct str key, nexthop;
	struct job_list waiting;
	struct job *filling;	/* recipients are being put into it */
	size_t running, window;
	bool is_ready;
	int64_t dead_until;	/* clock_now(); 0: it is not */
	char *dead_why;
};
TAILQ_HEAD(destination_list, destination);

struct transport {
	LIST_ENTRY(transport) link;
	struct str name;
	size_t concurrency, initial, recipients;
	bool by_recipient;	/* a destination is one recipient */
	struct destination_list ready;
	size_t waiting;		/* jobs */
	int64_t lonely_since;	/* nobody serves it; 0: somebody does */
};

/* --- the other ends (agents.c, stock.c) --- */

struct agent {
	LIST_ENTRY(agent) link;
	struct qmgr *qmgr;
	unsigned serial;
	struct conv *conv;
	struct watch *watch;
	const char *client;	/* the program, as its edge tells */
	struct transport *serves[64];
	size_t serves_count;
	size_t capacity, running;
	struct job_list jobs;
	bool blocked;		/* its socket is full */
	bool is_deaf;		/* ... for too long: it is closed */
	bool alone;		/* has a message that agents died of */
	/* Results that are durable and not yet told. */
	uint64_t *told_ids, *told_indexes;
	size_t told_count, told_room;
};

struct cleanup {
	TAILQ_ENTRY(cleanup) link;
	struct qmgr *qmgr;
	unsigned serial;
	pid_t pid;		/* -1: not known */
	struct conv *conv;
	struct watch *watch;	/* NULL: files of it are being read */
	struct map *files;	/* ids that it holds */
	size_t wants;
	size_t loads;		/* files of it that are being read */
	bool complained;
};

/* --- which ids somebody works on (registry.c) --- */

struct registry {
	pthread_mutex_t lock;
	struct map *entries;	/* id -> struct message or a mark */
};

int registry_init(struct registry *);
/* False: somebody has it. */
bool registry_claim(struct registry *, uint64_t id);
void registry_set(struct registry *, uint64_t id, struct message *);
void registry_drop(struct registry *, uint64_t id);
/* For the loop. NULL: not in work. */
struct message *registry_find(struct registry *, uint64_t id);
/*
 * For an operator's thread. 1: a message in work, which has the wish or the
 * mark now; 0: claimed, the caller drops it; -1: busy, ask again.
 */
int registry_wish(struct registry *, uint64_t id, uint64_t verb);
/* For the loop: what was wished stands in the message's wish and expire now. */
void registry_heed(struct registry *, struct message *);
/* The same for the last time: it ends, and is busy until it is dropped. */
void registry_close(struct registry *, struct message *);
/* True when it is in work; a claimed one is not. */
bool registry_is_active(struct registry *, uint64_t id);

/* --- disk threads (disk.c) --- */

struct disk_work {
	TAILQ_ENTRY(disk_work) link;
	void (*run)(struct disk_work *);	/* in a disk thread */
	void (*done)(struct disk_work *);	/* in the loop */
};
struct disk;

struct disk *disk_new(struct loop *, size_t threads,
    int (*spawn)(void (*)(void *), void *));
/* Never fails: the queue is a list of what the caller gave. */
void disk_add(struct disk *, struct disk_work *);
size_t disk_pending(const struct disk *);
/* Wakes the loop from any thread. `wake` of disk_set_wake() is called then,
 * and whenever finished work was handed back. */
void disk_wake(struct disk *);
void disk_set_wake(struct disk *, void (*wake)(void *), void *ctx);

/* --- the whole --- */

/* Enough that those who still read a file have closed it by then. */
#define QMGR_SPARES 512

struct recorder;

struct qmgr {
	struct loop *loop;
	const struct params *params;
	struct queue_spool spool;
	struct queue_done *done;
	struct disk *disk;
	struct registry registry;
	struct recorder *recorder;
	struct message_list messages;	/* all in memory */
	size_t message_count, recipient_count, octets;
	int64_t told_full;	/* loop_now() */
	LIST_HEAD(, transport) transports;
	struct map *destinations;
	size_t dead_count;	/* of these */
	int64_t told_dead;	/* loop_now() */
	LIST_HEAD(, agent) agents;
	TAILQ_HEAD(, cleanup) cleanups;	/* whose turn it is comes first */
	/* Files that somebody holds who does not speak to us (any more). */
	uint64_t *held;
	size_t held_count, held_room;
	struct map *held_ids;	/* the same */
	int64_t held_again;
	unsigned agent_serial, cleanup_serial;
	uint64_t job_number;
	size_t running;		/* jobs that agents have */
	struct job_list lost;	/* of agents whose conversation broke */
	struct timer *tick;	/* once a second while there is work */
	struct timer *run_timer;	/* next look at deferred/ */
	int64_t next_due;	/* seconds; INT64_MAX: nothing is known */
	int64_t bucket;
	bool ready;		/* the spool is ours and read */
	int64_t grace;		/* what was found waits so long for agents */
	bool draining;
	bool incoming_left;	/* not all of incoming/ is in memory */
	/* When it is read again because of what could not be moved away from
	 * it, s since 1970; INT64_MAX: nothing is there. */
	int64_t incoming_due;
	bool deferred_left;
	bool scanning, run_again;
	bool making;		/* queue files, in a disk thread */
	/* Files that are over and wait to be given again, oldest first; their
	 * records in `done` are kept. */
	bool recycles;
	struct queue_spare spares[QMGR_SPARES];
	size_t spare_count;
	atomic_bool wishes;	/* an operator's thread set some */
	atomic_bool look;	/* and moved files to deferred/0/ */
	/* Everything that says whether it may be delivered again. */
	struct done_mark *marks;
	size_t mark_count;
};

/* A record of `done` from before this start. */
struct done_mark {
	uint64_t id;
	uint32_t recipient;
};

/* message.c */
struct message *message_new(const struct queue_name *,
    const struct queue_envelope *);
void message_free(struct message **);
/* Takes it among those in memory; its id is claimed. */
void message_admit(struct qmgr *, struct message *);
/* Puts its recipients into jobs. */
void message_start(struct qmgr *, struct message *);
/* Its recipients may have jobs and results. Else those that wait do so for
 * another round. */
bool message_is_at_work(const struct message *);
/* A recipient's result; holder: serial of the agent to tell. */
void message_result(struct qmgr *, struct message *, uint32_t index,
    const struct agent_result *, unsigned holder);
/* `bounce`'s result of its notice. */
void message_notice_result(struct qmgr *, struct message *,
    const struct agent_result *, unsigned holder);
/* After anything that may have been the last. */
void message_settle(struct qmgr *, struct message *);
/* From the recorder: `done` knows, and the file is gone if `released`. */
void message_recorded(struct qmgr *, struct message *, uint32_t index);
void message_released(struct qmgr *, struct message *, int err);
/* True when nothing but the records of `done` stands between it and its
 * end: the recorder may unlink it in the same breath. */
bool message_is_ending(const struct message *);
/* Agents died while they had it: it goes to corrupt/. */
void message_condemn(struct qmgr *, struct message *);
/* A wish was set by another thread. */
void message_heed(struct qmgr *, struct message *);
/* We leave while agents have it: what was wished is done to the file, at once.
 * A message without a wish is left to the next qmgr as it is. */
void message_leave(struct qmgr *, struct message *);
size_t qmgr_room(const struct qmgr *);

/* schedule.c */
void schedule_message(struct qmgr *, struct message *);
void schedule_notice(struct qmgr *, struct message *, int notice,
    const uint32_t *indexes, size_t count);
/* Nothing is known of dead destinations any more: an operator flushes. */
void schedule_forget_dead(struct qmgr *);
/* Takes its jobs that no agent has away; their recipients keep WAITING. */
void schedule_cancel(struct qmgr *, struct message *);
/* One recipient of a job has its result. */
void schedule_result(struct qmgr *, struct job *, bool dead,
    const struct agent_result *);
/* An agent is gone for good: its job's recipients wait again. */
void schedule_again(struct qmgr *, struct job *);
/* An agent of before our start runs this recipient: it is that agent's. */
void schedule_adopt(struct qmgr *, struct agent *, struct message *,
    uint32_t index);
/* Is the word in a list of a parameter? */
bool qmgr_is_listed(const char *list, struct str word);
/* Hands out what may be handed out. */
void schedule_run(struct qmgr *);
struct transport *schedule_transport(struct qmgr *, struct str name);
void schedule_tick(struct qmgr *, int64_t now);

/* agents.c */
void agents_add(struct qmgr *, struct conv *, const char *client);
/* Is there a program whose mail this is? */
bool agents_know(struct str transport);
/* One that serves the transport and has room, or NULL. */
struct agent *agents_choose(struct qmgr *, struct transport *,
    const struct message *);
bool agents_serve(struct qmgr *, const struct transport *);
/* 0, 1: no room, -1: the agent is gone, -2: the message's file is. */
int agents_hand(struct qmgr *, struct agent *, struct job *);
/* The result of (id, index) is durable. */
void agents_tell(struct qmgr *, unsigned serial, uint64_t id, uint32_t index);
void agents_flush(struct qmgr *);
void agents_tick(struct qmgr *, int64_t now);

/* record.c */
struct recorder *recorder_new(struct qmgr *);
void recorder_add(struct qmgr *, struct message *, uint32_t index);
/* The message's file has its results: `done` need not keep them. */
void recorder_forget(struct qmgr *, uint64_t id);
/* Unlinks its file and tells message_released(). */
void recorder_release(struct qmgr *, struct message *);
bool recorder_is_idle(const struct recorder *);

/* stock.c */
void stock_add(struct qmgr *, struct conv *);
void stock_serve(struct qmgr *);
/* load_file() for that one is over. */
void stock_loaded(struct qmgr *, unsigned serial);

/* load.c */
/* Takes the spool (waits for its lock), reads it; q->ready when done. */
void load_start(struct qmgr *);
/* A file in incoming/ that somebody let go of: message, or nothing. fresh:
 * it was committed since we started, so that no agent can have it. cleanup: serial
 * of the one that is told the end, or 0. */
void load_file(struct qmgr *, uint64_t id, bool fresh, unsigned cleanup);
void load_tick(struct qmgr *, int64_t now);
/* Looks at what is due, or at what did not fit into memory. */
void load_run(struct qmgr *);
/* The same, for what an operator wants to be tried now. */
void load_flushed(struct qmgr *);
/* When we looked, the file was no message yet and somebody had it open: what it
 * became since, no agent can have had from the qmgr before us. */
bool load_is_held(const struct qmgr *, uint64_t id);
/* Something in incoming/ could not be taken up: after minimal_backoff_time it
 * is read again. False: it would have been sooner. */
bool load_again(struct qmgr *);
/* Something will be due then. */
void load_due(struct qmgr *, int64_t due);

/* retry.c */
/* When a message that was deferred now is tried again, seconds. */
int64_t retry_next(const struct qmgr *, const struct message *, int64_t now);
bool retry_is_expired(const struct qmgr *, const struct message *,
    int64_t now);

/* operator.c */
void operator_add(struct qmgr *, struct conv *);

/* main.c */
void qmgr_spool_failed(const char *what, const char *id);
/* The spool was read: who waited may come in. */
void qmgr_is_ready(struct qmgr *);
/* Once a second something looks at what waits for a time to pass. */
void qmgr_start_tick(struct qmgr *);
/* Ends the process when it is draining and nothing is left. */
void qmgr_check_drain(struct qmgr *);
#endif
