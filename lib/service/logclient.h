/* logclient.h - the way of a log line to `log` */
#ifndef SERVICE_LOGCLIENT_H
#define SERVICE_LOGCLIENT_H
#include "base/log.h"

/* Sends log lines as datagrams to fd, in front of each the level as one digit
 * and "name/program[pid]: " (log_info_as() names another program). Never
 * waits: what finds no room is counted, and the count goes with the next line
 * that does. The strings are kept. */
void logclient_start(int fd, const char *name, const char *program);
/* The same with "name[pid]: tag: " in front, or "name[pid]: " without a tag:
 * as Dovecot's lines begin. */
void logclient_start_tagged(int fd, const char *name, const char *tag);
#endif
