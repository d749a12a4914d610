/* command.h - the commands of SMTP and LMTP, one function and file each */
#ifndef SMTPD_COMMAND_H
#define SMTPD_COMMAND_H
#include "smtpd/session.h"

/* Runs one command line (without its end). */
void command_run(struct session *, struct str line);
/* " ehlo=1 mail=1/2 ... commands=5/6" of the disconnect line. */
void command_append_counts(const struct session *, struct buf *out);

/* arg: what follows the verb, without the spaces around it. */
void cmd_helo(struct session *, struct str arg);
void cmd_ehlo(struct session *, struct str arg);
void cmd_mail(struct session *, struct str arg);
void cmd_rcpt(struct session *, struct str arg);
void cmd_data(struct session *, struct str arg);
void cmd_bdat(struct session *, struct str arg);
void cmd_rset(struct session *, struct str arg);
void cmd_noop(struct session *, struct str arg);
void cmd_vrfy(struct session *, struct str arg);
void cmd_quit(struct session *, struct str arg);
void cmd_starttls(struct session *, struct str arg);
void cmd_auth(struct session *, struct str arg);
void cmd_not_done(struct session *, struct str arg);
#endif
