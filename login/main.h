/* main.h - what the process holds for all of its clients */
#ifndef LOGIN_MAIN_H
#define LOGIN_MAIN_H

struct tls_server;

/* NULL: no certificate, so no TLS. */
struct tls_server *login_tls(void);
/* What relay_add() wants as ctx for a client of this address and service:
 * gives the connection's place back when it is over. NULL: no memory. */
void *login_held_new(const char *addr, const char *service);
void login_held_free(void *);
#endif
