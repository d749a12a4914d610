/*
 * lookup.h - what lookup knows, and its answers
 *
 * Everything hangs from one struct lookup, made of the parameters at start
 * and constant after it (tables look after themselves). Functions answer 1,
 * 0 or -1; with -1 a table or auth could not be asked and q->why says which.
 */
#ifndef LOOKUP_LOOKUP_H
#define LOOKUP_LOOKUP_H
#include "base/arena.h"
#include "base/buf.h"
#include "config/params.h"
#include "msgs/lookup.h"
#include "table/table.h"

#define LOOKUP_ADDRESS_MAX 1024

/* domains.c: a list as in mydestination: names, tables, /files, !names. */
struct domain_list;
struct domain_list *domain_list_new(struct str text, bool match_parents,
    struct buf *why);
void domain_list_free(struct domain_list **);
int domain_list_match(const struct domain_list *, struct str domain,
    struct buf *why);

/* Whether a user of that name (user@domain, or a system user's) exists:
 * 1, 0, -1. */
typedef int lookup_user_fn(struct str address, struct buf *why, void *ctx);

struct lookup {
	const struct params *params;
	lookup_user_fn *user_exists;
	void *ctx;
	struct domain_list *mydestination, *virtual_alias_domains,
	    *virtual_mailbox_domains, *relay_domains;
	struct table_list *virtual_alias_maps, *virtual_mailbox_maps,
	    *local_recipient_maps, *relay_recipient_maps, *transport_maps,
	    *alias_maps;
	struct str *own_addresses;	/* "192.0.2.1", "2001:db8::1" */
	size_t own_count;
	bool propagates_virtual;	/* propagate_unmatched_extensions */
	struct arena *arena;
};

/* NULL and the reason in *why when a parameter is malformed. */
struct lookup *lookup_new(const struct params *, lookup_user_fn *, void *ctx,
    struct buf *why);
void lookup_free(struct lookup **);

/* One question's memory, and why it could not be answered. */
struct query {
	const struct lookup *l;
	struct arena *arena;
	struct buf why;
};

/* An address in its two parts; views. */
struct parts {
	struct str local, domain;
};

/* rewrite.c: completes an address (myorigin), puts its domain in lower case.
 * 0, or -1: it is none. */
int lookup_rewrite(struct query *, struct str address, struct str *result_r);
struct parts lookup_split(struct str address);
/* user+ext without the extension, which goes to *ext_r with its delimiter
 * (empty: there was none). */
struct str lookup_strip(const struct lookup *, struct str local,
    struct str *ext_r);

/*
 * find.c: an address in tables: user+ext@domain, user@domain, user+ext and
 * user (is_ours: when the domain is one of this system's names), @domain.
 * The extension that the match went without goes to *ext_r. By
 * TABLE_FOUND the value is in *value.
 */
enum find_what { FIND_BARE = 1, FIND_DOMAIN = 2, FIND_USERS = 4 };
int lookup_find(struct query *, struct table_list *, struct parts,
    unsigned what, struct buf *value, struct str *ext_r, bool *by_domain_r);
/* Whether user+ext may be looked up without its domain. */
int lookup_is_ours(struct query *, struct str domain);

/* resolve.c */
int lookup_class(struct query *, struct parts, enum lookup_class *class_r);
/* Class, transport and next hop. 0 or -1. */
int lookup_route(struct query *, struct parts, enum lookup_class *class_r,
    struct str *transport_r, struct str *nexthop_r);
/* recipient.c: whether mail for it is taken, when it has no alias. */
int lookup_recipient_exists(struct query *, struct parts, enum lookup_class);
/* Why not, as the reply's text. */
const char *lookup_unknown_text(enum lookup_class);

/* expand.c: what virtual_alias_maps makes of it, without duplicates; one
 * address when nothing. 0 or -1. */
int lookup_expand(struct query *, struct str address, struct strs *result_r);
/* Whether virtual_alias_maps has the address. */
int lookup_has_alias(struct query *, struct parts);

/* answer.c: whole questions; strings live in the query's arena. */
void lookup_answer_resolve(struct query *, const struct resolve_request *,
    struct resolve_reply *);
void lookup_answer_expand(struct query *, const struct expand_request *,
    struct expand_reply *);
void lookup_answer_alias(struct query *, const struct alias_request *,
    struct alias_reply *);

/* users.c: asks auth, and remembers a "yes" for two seconds. */
int users_exists(struct str address, struct buf *why, void *ctx);
#endif
