/* fixture.h - a store in a directory of its own, and "another program" */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/sys.h"
#include "store/delivery.h"
#include "store/mailbox.h"
#include "store/store.h"

struct fixture {
	char path[256];
	int root;
	struct store *store;
};

int fixture_setup(void **state);
/* For thousands of syncs that nobody needs. */
int fixture_setup_in_memory(void **state);
int fixture_teardown(void **state);

/* What another program does: a path below the store's root. */
void other_writes(struct fixture *, const char *path, const char *content);
void other_renames(struct fixture *, const char *from, const char *to);
void other_links(struct fixture *, const char *from, const char *to);
void other_removes(struct fixture *, const char *path);
bool is_there(struct fixture *, const char *path);
/* Entries of a directory without "." and "..". */
size_t entries(struct fixture *, const char *dir);
/* The path of some visible entry; "" when there is none. */
void first_entry(struct fixture *, const char *dir, char *out, size_t size);
/* Waits until a directory's last change is older than the clock's grain. */
void settle(void);

void deliver(struct fixture *, const char *mailbox, const char *text);
uint32_t append(struct fixture *, const char *mailbox, const char *text,
    uint32_t flags);
struct mailbox *select_mailbox(struct fixture *, const char *name);
/* The sequence numbers 1..n. */
const uint32_t *seqs_to(uint32_t n);

/*
 * From now on the n-th operation `op` (1: the next) fails with err, and
 * all later ones of it when `all`; fault_off() ends it.
 */
void fault_on(enum sys_op op, int n, int err, bool all);
void fault_off(void);
#endif
