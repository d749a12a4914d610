/*
 * CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7)
 * and NAMESPACE (RFC 2342)
 */
#include <errno.h>
#include "imapd/commands.h"

static int parse_one_name(struct session *s, struct str *name)
{
	if (parse_space(&s->parse) < 0 || parse_mailbox(&s->parse, name) < 0)
		return -1;
	return parse_end(&s->parse);
}

static int answer(struct session *s, int rc, const char *why,
    const char *done)
{
	if (rc < 0)
		session_no_store(s, errno, why);
	else
		session_ok(s, "%s completed", done);
	return 0;
}

/* RFC 6154 section 3: attributes for a new mailbox are not supported, and
 * not announced. */
int cmd_create(struct session *s)
{
	const char *why = NULL;
	struct str name;
	int rc;

	if (parse_one_name(s, &name) < 0)
		return -1;
	rc = store_create(s->server->store, name, &why);
	return answer(s, rc, why, "Create");
}

int cmd_delete(struct session *s)
{
	const char *why = NULL;
	struct str name;
	int rc;

	if (parse_one_name(s, &name) < 0)
		return -1;
	rc = store_delete(s->server->store, name, &why);
	return answer(s, rc, why, "Delete");
}

int cmd_rename(struct session *s)
{
	const char *why = NULL;
	struct str from, to;
	int rc;

	if (parse_space(&s->parse) < 0 ||
	    parse_mailbox(&s->parse, &from) < 0 || parse_one_name(s, &to) < 0)
		return -1;
	rc = store_rename(s->server->store, from, to, &why);
	return answer(s, rc, why, "Rename");
}

int cmd_subscribe(struct session *s)
{
	const char *why = NULL;
	struct str name;
	int rc;

	if (parse_one_name(s, &name) < 0)
		return -1;
	rc = store_subscribe(s->server->store, name, true, &why);
	return answer(s, rc, why, "Subscribe");
}

int cmd_unsubscribe(struct session *s)
{
	const char *why = NULL;
	struct str name;
	int rc;

	if (parse_one_name(s, &name) < 0)
		return -1;
	rc = store_subscribe(s->server->store, name, false, &why);
	return answer(s, rc, why, "Unsubscribe");
}

/* One personal namespace, no others' and no shared one. */
int cmd_namespace(struct session *s)
{
	if (parse_end(&s->parse) < 0)
		return -1;
	session_say(s, "* NAMESPACE ((\"\" \"%c\")) NIL NIL",
	    STORE_SEPARATOR);
	session_ok(s, "Namespace completed");
	return 0;
}
