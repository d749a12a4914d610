/* ubloop.h - libunbound's pluggable event base, on our own loop */
#ifndef DNS_UBLOOP_H
#define DNS_UBLOOP_H
#include "base/loop.h"

struct ub_event_base;

/*
 * An event base for ub_ctx_create_ub_event(). It must outlive the context;
 * the loop must outlive both. NULL: no memory.
 */
struct ub_event_base *ubloop_new(struct loop *);
void ubloop_free(struct ub_event_base **);
#endif
