/*
 * relay.h - TLS connections of users who are logged in: octets between the
 * client and the user's process, in one thread with an event loop
 */
#ifndef LOGIN_RELAY_H
#define LOGIN_RELAY_H
#include "net/stream.h"

/* Starts the thread, before the first client. 0 or -1. ended: called in that
 * thread with each relay's ctx when its connection is over, and how many
 * are left. */
int relay_start(void (*ended)(void *ctx, size_t left));
/* Takes the stream (TLS, without buffered input) and the session's end of a
 * socket pair. 0; -1: no memory, both still the caller's. */
int relay_add(struct stream *, int session, void *ctx);
size_t relay_count(void);
/* The process is to end (service_stopping()): sessions see the end of their
 * input, and what they still say goes out. */
void relay_stop(void);
#endif
