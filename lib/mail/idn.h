/* idn.h - international domain names (RFC 5890, RFC 5891; UTS 46) */
#ifndef MAIL_IDN_H
#define MAIL_IDN_H
#include "base/buf.h"

/*
 * Appends the domain as A-labels in lower case: what DNS, tables and a peer
 * without SMTPUTF8 are asked with. A domain in US-ASCII is only lowered (an
 * address literal too). -1: not a name that IDNA2008 allows, with a NUL, or
 * out's limit; out is as before.
 */
int mail_domain_to_ascii(struct str domain, struct buf *out);
/*
 * Appends the domain as U-labels, for people to read. Labels that cannot be
 * shown stay as they are. -1: out's limit.
 */
int mail_domain_to_unicode(struct str domain, struct buf *out);
#endif
