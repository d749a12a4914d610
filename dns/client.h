/* client.h - the conversations of those who ask (msgs/dns.h) */
#ifndef DNS_CLIENT_H
#define DNS_CLIENT_H
#include "dns/resolver.h"

struct clients;

/* NULL: no memory. Loop and resolver must outlive it. */
struct clients *clients_new(struct loop *, struct resolver *);
void clients_free(struct clients **);
/* Takes the conversation. `who` is the program that asks, for the log. */
void clients_add(struct clients *, struct conv *, const char *who);
/*
 * No conversation is kept longer than its questions in flight; when the
 * last is gone, fn is called (perhaps at once).
 */
void clients_drain(struct clients *, void (*fn)(void));
size_t clients_count(const struct clients *);
#endif
