/*
 * oracle.h - what was promised of each message, and what is there of it
 *
 * oracle_ledger.c reads the promises, oracle_places.c the places where mail
 * can be, oracle_content.c tells what lies there, oracle.c gives the verdict.
 */
#ifndef CRASH_ORACLE_H
#define CRASH_ORACLE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/str.h"

#define TOKEN_MAX 40
#define SHA256_SIZE 32

/* A message for one recipient. */
struct wanted {
	struct str address;
	bool acked;
	int copied, copying;	/* one more copy: confirmed, only asked for */
	int taken, taking;	/* one copy less: the same */
	/* what is there */
	int good, cut, notices;
	char *places;		/* where, for the report */
};

struct proof {
	char token[TOKEN_MAX + 1];
	unsigned char sha[SHA256_SIZE];
	uint64_t octets;
	unsigned sent, refused;	/* lines in the ledger */
	char code[4];		/* of a refusal */
	unsigned deaths_before;	/* kills, cuts, faults before it was sent */
	bool damaged;		/* was said */
	struct wanted *wanted;
	size_t wanted_count;
};

struct killed {
	long pid;
};

struct oracle {
	struct proof **proofs;	/* in the order in which they were sent */
	size_t proof_count;
	struct map *tokens;	/* token -> struct proof */
	struct map *aliases;	/* mailbox -> struct str, the recipient */
	struct killed *killed;
	size_t killed_count;
	unsigned deaths;	/* killed, powercut and fault lines */
	bool died;		/* a process died, or all */
	unsigned window;
	unsigned acked, found, lost, damaged, duplicated, residue, gone;
	unsigned extra;		/* copies more, within the window */
	bool verbose;
};

/* A verdict's line; its count is one of the members above. */
void oracle_say(unsigned *count, const char *verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The ledger, the command line or the machine is wrong: exit 2. */
void oracle_stop(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void *oracle_grow(void *array, size_t count, size_t size);

/* until: the number of the mark behind which nothing is a promise, or -1. */
void ledger_read(struct oracle *, const char *path, long until);
/* The recipient whose mail lies in the mailbox `address`, or NULL. */
struct wanted *ledger_wanted(const struct oracle *, struct proof *,
    struct str address);

/* Where octets were found. */
struct found_in {
	const char *path;
	const struct str *rcpts; /* for whom they are there */
	size_t count;
	bool may_be_cut;	/* an mbox: a crash leaves a part there */
};
/* One message, with LF or CR LF line ends. */
void content_judge(struct oracle *, struct str message,
    const struct found_in *);

void places_queue(struct oracle *, const char *spool);
void places_mail(struct oracle *, const char *root);
void places_sink(struct oracle *, const char *dir);
#endif
