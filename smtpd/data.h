/* data.h - what DATA and BDAT have in common */
#ifndef SMTPD_DATA_H
#define SMTPD_DATA_H
#include "smtpd/session.h"

/* smtpd_forbid_bare_newline = reject: answers 521 and ends the session, and
 * is true. what: "CR" or "LF". */
bool data_refuses_bare(struct session *, const char *what);
/* The content is there: has it committed, answers, ends the transaction. */
void data_finish(struct session *);
/* Moves the stream's deadline on by what n octets earn. */
void data_extend_deadline(struct session *, int64_t *deadline, size_t n);
#endif
