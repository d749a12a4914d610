/*
 * access.h - the restriction lists: who may send what to whom
 *
 * smtpd_client_, _helo_, _sender_, _relay_, _recipient_, _data_ and
 * _end_of_data_restrictions, in Postfix's words and evaluated as Postfix
 * does: the first restriction that decides ends its list, "permit" ends only
 * its own list, every list has to let the request pass. With
 * smtpd_delay_reject (the default) the first three are evaluated at RCPT.
 *
 * Nothing here talks to anybody: what has to be asked (DNS, who owns a
 * sender address) is asked through struct access_oracle.
 */
#ifndef SMTPD_ACCESS_H
#define SMTPD_ACCESS_H
#include "base/arena.h"
#include "base/buf.h"
#include "net/addr.h"

enum access_stage {
	ACCESS_CLIENT,
	ACCESS_HELO,
	ACCESS_SENDER,
	ACCESS_RELAY,
	ACCESS_RECIPIENT,
	ACCESS_DATA,
	ACCESS_END_OF_DATA,
	ACCESS_STAGE_COUNT
};

/* What lookup said of an address, as far as the lists care. */
enum access_class {
	ACCESS_CLASS_NONE, /* was not asked */
	ACCESS_CLASS_OURS, /* local, virtual, relay: the user exists */
	ACCESS_CLASS_UNKNOWN, /* the domain is ours, the user does not exist */
	ACCESS_CLASS_FOREIGN, /* neither ours nor relayed for */
	ACCESS_CLASS_TEMPFAIL, /* nobody knows right now */
};

struct access_address {
	bool given;	   /* MAIL or RCPT was accepted syntactically */
	struct str text;   /* without the brackets; empty is <> */
	struct str domain; /* empty: none */
	enum access_class class;
	struct str table;  /* CLASS_UNKNOWN: "local recipient table" */
	uint64_t code;	   /* CLASS_UNKNOWN: reply code, 450 or 550 */
};

/* What the DNS says about a name. */
enum access_dns {
	ACCESS_DNS_FOUND,
	ACCESS_DNS_NONE,
	ACCESS_DNS_NULL_MX, /* RFC 7505 */
	ACCESS_DNS_TEMPFAIL,
};

struct access_oracle {
	void *ctx;
	/* Has the domain an MX, A or AAAA record? */
	enum access_dns (*domain)(void *ctx, struct str domain);
	/* Who may use the sender address: 1 when `user` may, 0 when somebody
	 * else owns it, 2 when nobody does, -1 when it cannot be told now. */
	int (*owner)(void *ctx, struct str user, struct str sender);
};

/* Reply codes that sites may change; the parameters' names. */
struct access_codes {
	uint64_t relay_domains_reject_code;	 /* 554 */
	uint64_t reject_code;			 /* 554 */
	uint64_t defer_code;			 /* 450 */
	uint64_t non_fqdn_reject_code;		 /* 504 */
	uint64_t invalid_hostname_reject_code;	 /* 501 */
	uint64_t unknown_address_reject_code;	 /* 450 */
	uint64_t unknown_client_reject_code;	 /* 450 */
	uint64_t unknown_hostname_reject_code;	 /* 450 */
	uint64_t multi_recipient_bounce_reject_code; /* 550 */
	uint64_t plaintext_reject_code;		 /* 450 */
};

/* The client's name: from its address (reverse) and back (forward). */
enum access_name { ACCESS_NAME_OK, ACCESS_NAME_NONE, ACCESS_NAME_TEMPFAIL };

struct access_request {
	const struct access_codes *codes;
	struct access_oracle oracle;
	struct str client; /* "name[address]" */
	struct str client_address;
	enum access_name name, reverse_name;
	bool in_mynetworks;
	bool is_own_host; /* connects from one of our own addresses */
	bool is_tls;
	bool pipelined_too_early; /* the client did not wait where it must */
	struct str user;	  /* authenticated as; p NULL: not */
	struct str helo;
	struct access_address sender, recipient;
	size_t nrcpts; /* accepted so far */
	bool reject_unlisted_recipient; /* smtpd_reject_unlisted_recipient */
	bool reject_unlisted_sender;
};

enum access_verdict { ACCESS_DUNNO, ACCESS_OK, ACCESS_REJECT };

struct access_list;

/* The value of a class in smtpd_restriction_classes, or NULL: no class. */
typedef const char *access_class_fn(void *ctx, struct str name);

/*
 * Parses one list; it and the classes it names live in the arena. NULL: why
 * says which word is not known.
 */
const struct access_list *access_parse(struct str text, enum access_stage,
    struct arena *, access_class_fn *, void *ctx, struct buf *why);
/* Does a restriction in the list want to know the sender's class? */
bool access_asks_sender(const struct access_list *);
/* Whether the lists can end in a refusal for foreign recipients: without,
 * the program must not start (an open relay). */
bool access_guards_relay(const struct access_list *relay,
    const struct access_list *recipient);

/* Told of each "warn_if_reject" that would have refused. */
typedef void access_warn_fn(void *ctx, struct str reply);

/*
 * Evaluates lists[0..n) for the request, in that order, and the checks that
 * follow RCPT when `last` is ACCESS_RECIPIENT. ACCESS_REJECT: `reply` holds the
 * whole reply ("554 5.7.1 <x>: Relay access denied"), to be sent and logged.
 */
enum access_verdict access_check(const struct access_list *const *lists,
    size_t n, enum access_stage last, const struct access_request *,
    struct buf *reply, access_warn_fn *, void *warn_ctx);

/* RFC 5321 2.3.5: letters, digits, hyphens (not at a label's ends), dots;
 * underscores as they are found. Not all digits. */
bool access_is_hostname(struct str);
#endif
