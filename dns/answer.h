/* answer.h - from a DNS packet to a typed answer (RFC 1035 4, RFC 3597) */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H
#include "msgs/dns.h"

#define ANSWER_CNAME_MAX 10
#define ANSWER_TTL_MAX (7 * 86400) /* RFC 8767 4: longer is nonsense */

/*
 * Reads the answer to (name, type) out of a packet: the rcode in its header,
 * the CNAME chain from name, the records at its end. Sets everything in
 * *reply_r but tag and secure; strings live in the arena or are static. A
 * packet that is damaged or truncated, or whose rcode is neither NOERROR nor
 * NXDOMAIN, or whose chain is longer than ANSWER_CNAME_MAX, is DNS_TEMPFAIL. When all
 * records of the type are malformed the status is DNS_NODATA for MX, A,
 * AAAA, PTR and TXT with `ignored` above 0 (the caller decides what that
 * means), and the same for TLSA.
 */
void answer_parse(struct str packet, struct str name, enum dns_type,
    struct arena *, struct dns_reply *reply_r);

/* What may leave as a host name (see msgs/dns.h). */
bool answer_is_hostname(struct str);
/*
 * What may be asked: 1 to DNS_NAME_MAX printable octets without space,
 * quotes and backslash, labels of 1 to 63. (libunbound reads its names in
 * presentation form, where a backslash is an escape.)
 */
bool answer_may_ask(struct str name);
#endif
