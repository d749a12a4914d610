/* recipient.c - whether there is somebody of that address */
#include "lookup/lookup.h"

static int find_in(struct query *q, struct table_list *tables, struct parts p,
    unsigned what)
{
	struct buf value;
	struct str ext;
	bool by_domain;
	int found;

	buf_init(&value, TABLE_VALUE_MAX);
	found = lookup_find(q, tables, p, what, &value, &ext, &by_domain);
	buf_fini(&value);
	return found;
}

/* auth is asked with the extension first: it may be part of the name. */
static int find_user(struct query *q, struct parts p)
{
	const struct lookup *l = q->l;
	struct str ext, bare = lookup_strip(l, p.local, &ext);
	int found = l->user_exists(arena_printf(q->arena, STR_FMT "@" STR_FMT,
	    STR_ARG(p.local), STR_ARG(p.domain)), &q->why, l->ctx);

	if (found == 0 && ext.n > 0)
		found = l->user_exists(arena_printf(q->arena, STR_FMT "@"
		    STR_FMT, STR_ARG(bare), STR_ARG(p.domain)), &q->why,
		    l->ctx);
	return found;
}

int lookup_recipient_exists(struct query *q, struct parts p,
    enum lookup_class class)
{
	const struct lookup *l = q->l;

	switch (class) {
	case LOOKUP_LOCAL:
		/* Without a table the domain takes every name. */
		if (table_list_count(l->local_recipient_maps) == 0)
			return 1;
		return find_in(q, l->local_recipient_maps, p,
		    FIND_BARE | FIND_DOMAIN | FIND_USERS);
	case LOOKUP_VIRTUAL_MAILBOX:
		if (table_list_count(l->virtual_mailbox_maps) == 0)
			return find_user(q, p);
		return find_in(q, l->virtual_mailbox_maps, p, FIND_DOMAIN);
	case LOOKUP_VIRTUAL_ALIAS:
		return 0;
	case LOOKUP_RELAY:
		if (table_list_count(l->relay_recipient_maps) == 0)
			return 1;
		return find_in(q, l->relay_recipient_maps, p, FIND_DOMAIN);
	case LOOKUP_DEFAULT:
		return 1;
	}
	return 1;
}

const char *lookup_unknown_text(enum lookup_class class)
{
	switch (class) {
	case LOOKUP_LOCAL:
		return "5.1.1 User unknown in local recipient table";
	case LOOKUP_VIRTUAL_ALIAS:
		return "5.1.1 User unknown in virtual alias table";
	case LOOKUP_VIRTUAL_MAILBOX:
		return "5.1.1 User unknown in virtual mailbox table";
	case LOOKUP_RELAY:
		return "5.1.1 User unknown in relay recipient table";
	case LOOKUP_DEFAULT:
		break;
	}
	return "5.1.1 User unknown";
}
