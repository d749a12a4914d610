/* config.h - the parameters of sending mail, in the shape they are used */
#ifndef SMTP_CONFIG_H
#define SMTP_CONFIG_H
#include "config/params.h"
#include "net/tls.h"
#include "smtp/target.h"

enum tls_level { TLS_NONE, TLS_MAY, TLS_ENCRYPT, TLS_VERIFY, TLS_SECURE };

struct smtp_config {
	const struct params *params;
	bool ipv4, ipv6;
	uint16_t smtp_port, lmtp_port;
	struct net_addr bind4, bind6;	/* AF_UNSPEC: any */
	enum tls_level tls_level;	/* of SMTP; LMTP has its own */
	enum tls_level lmtp_tls_level;
	struct tls_client *tls_optional, *tls_mandatory; /* NULL: no TLS */
};

/*
 * Reads what needs files (certificate authorities): before the walls. 0, or
 * -1 (logged).
 */
int smtp_config_load(struct smtp_config *, const struct params *);
void smtp_config_fini(struct smtp_config *);
#endif
