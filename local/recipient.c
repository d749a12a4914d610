/*
 * recipient.c - from a recipient to mailboxes, commands, other addresses
 *
 *   virtual user  ------------------------------------> his mailbox
 *   local name -> alias? -> targets -> commands, files, himself, addresses
 *              -> user?  -> .forward? -> the same
 *                                    -> his mailbox
 *
 * Addresses go on as one new message, last: what may fail goes before, and a
 * temporary failure ends it, so that a retry repeats as little as can be.
 * What is named twice gets one copy.
 */
#include <errno.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "config/expand.h"
#include "local/forward.h"
#include "local/recipient.h"
#include "local/targets.h"
#include "local/users.h"
#include "mail/path.h"
#include "mail/status.h"
#include "msgs/deliver.h"
#include "msgs/lookup.h"
#include "service/service.h"

/* A delivery may run a command: command_time_limit, and some. */
#define DELIVER_SPARE (100 * CLOCK_SECOND)
#define LOOKUP_TIMEOUT (30 * CLOCK_SECOND)
#define DEPTH_MAX 100
#define PATH_OCTETS 1024		/* of an address */

struct walk {
	struct agent_task *task;
	size_t position;
	struct arena *arena;
	struct str local, domain;	/* of the recipient; lower case */
	struct str user, extension;	/* local without its extension */
	struct agent_outcome out;	/* of the last step, then of all */
	bool has_failed;		/* a step failed for good: `failure` */
	struct agent_outcome failure;
	bool has_sent;

	/* addresses that it goes on to */
	struct str *forward;
	size_t nforward, room;
	struct str owner;		/* owner-alias, or empty */
	size_t expanded;		/* targets so far */
	struct map *seen;		/* destinations, whatever became of
					   the first copy */
};

/* Whose word a list of targets is. */
struct authority {
	bool is_alias;		/* root's, else that user's own .forward */
	struct str user;	/* whose rights commands and files have */
	const char *origin;	/* for allow_mail_to_*: "alias", "forward",
				   "include" */
	struct str name;	/* what names itself: no further expansion */
	int depth;
};

static int defer(struct walk *w, const char *dsn, struct str text)
{
	w->out.status = AGENT_DEFERRED;
	w->out.dsn = dsn;
	w->out.text = text;
	return -1;
}

static int fail(struct walk *w, const char *dsn, struct str text)
{
	w->out.status = AGENT_FAILED;
	w->out.dsn = dsn;
	w->out.text = text;
	return 0;
}

/* After each step: 0 go on, -1 a temporary failure ends it. */
static int settle(struct walk *w)
{
	if (w->out.status == AGENT_DEFERRED)
		return -1;
	if (w->out.status == AGENT_SENT) {
		w->has_sent = true;
	} else if (!w->has_failed) {
		w->has_failed = true;
		w->failure = w->out;
	}
	return 0;
}

/*
 * Is it the first copy for this destination (of this kind, with these rights)?
 * Then it is remembered. 1, 0, or -1: deferred.
 */
static int is_first(struct walk *w, const char *kind, struct str user,
    struct str text)
{
	static char mark;
	struct str key = arena_printf(w->arena, "%s " STR_FMT "\n" STR_FMT,
	    kind, STR_ARG(user), STR_ARG(text));

	if (w->seen == NULL)
		w->seen = map_new(false);
	if (w->seen != NULL && key.n > 0 && map_find(w->seen, key) != NULL)
		return 0;
	if (w->seen != NULL && key.n > 0 &&
	    map_set(w->seen, key, &mark, NULL) == 0)
		return 1;
	return defer(w, "4.3.0", STR("no memory"));
}

/* --- a process of a user --- */

/* What a user's process says is a user's word: a code that does not go with
 * its status, or is none, goes no further (RFC 3463 2). */
static void take_reply(struct walk *w, struct deliver_reply *rep)
{
	static const char *const codes[] = { [AGENT_SENT] = "2.0.0",
		[AGENT_DEFERRED] = "4.3.0", [AGENT_FAILED] = "5.3.0" };
	static const int classes[] = { [AGENT_SENT] = 2, [AGENT_DEFERRED] = 4,
		[AGENT_FAILED] = 5 };
	char *dsn = NULL;

	w->out.status = rep->status >= AGENT_SENT &&
	    rep->status <= AGENT_FAILED ? (enum agent_status)rep->status
	    : AGENT_DEFERRED;
	if (mail_status_has_class(rep->dsn, classes[w->out.status]))
		dsn = arena_cstr(w->arena, rep->dsn);
	w->out.dsn = dsn != NULL ? dsn : codes[w->out.status];
	w->out.text = arena_str(w->arena, rep->text);
	w->out.file_damaged = rep->file_damaged;
	rep->content = arena_str(w->arena, rep->content);
}

/* Asks once; -1: it had gone before it took the question, 1: no answer. */
static int ask_once(const struct user *u, struct walk *w,
    const struct deliver_request *req, struct deliver_reply *rep,
    const char **why)
{
	const struct msg_schema *allowed[] = { &deliver_reply_schema }, *got;
	int64_t deadline = clock_now() + DELIVER_SPARE +
	    service_params()->command_time_limit * CLOCK_SECOND;
	enum conv_got how;
	struct talk t;

	*why = "its delivery process cannot be reached";
	if (users_open(u, clock_now() + 30 * CLOCK_SECOND, &t) < 0)
		return -1;
	how = conv_send(t.conv, &deliver_request_schema, req, deadline,
	    why) < 0 ? CONV_CLOSED : conv_recv(t.conv, allowed, 1, &got, rep,
	    deadline, why);
	if (how == CONV_MESSAGE)
		take_reply(w, rep);
	users_close(&t, how == CONV_MESSAGE);
	return how == CONV_MESSAGE ? 0 : how == CONV_CLOSED ? -1 : 1;
}

/* The user's process may have ended this moment, or been killed: a new one is
 * there in milliseconds, and a deferral would cost minutes. */
static const useconds_t pauses[] = { 0, 0, 20000, 100000, 500000, 900000 };
#define ATTEMPTS (sizeof(pauses) / sizeof(pauses[0]))

/*
 * Has the user's process do it. `req` lacks only dir. *found_r false: there
 * is no such user. The outcome says what became of it.
 */
static void ask_user(struct walk *w, struct str name, bool command,
    struct deliver_request *req, struct deliver_reply *rep, bool *found_r,
    struct user *u)
{
	const char *why = "";

	*found_r = true;
	for (size_t i = 0; i < ATTEMPTS; i++) {
		int rc;

		if (pauses[i] > 0)
			usleep(pauses[i]);
		switch (users_find(name, command, i > 0, w->arena, u, &why)) {
		case USERS_UNKNOWN:
			*found_r = false;
			return;
		case USERS_TEMPFAIL:
			goto failed;
		case USERS_FOUND:
			break;
		}
		/* then the question may lack something, too */
		why = "no memory for this recipient";
		if (arena_failed(w->arena))
			goto failed;
		req->dir = u->dir;
		rc = ask_once(u, w, req, rep, &why);
		if (rc == 0)
			return;
		if (rc > 0) /* it may have done it: the next try will tell */
			break;
	}
failed:
	defer(w, "4.3.0", arena_printf(w->arena, "mail system configuration "
	    "or temporary error: %s", why));
}

static struct deliver_request new_request(const struct walk *w,
    enum deliver_what what)
{
	const struct agent_job *j = &w->task->job;

	return (struct deliver_request){
		.what = what, .file = j->file, .queue_id = j->queue_id,
		.sender = j->sender, .rcpt = j->rcpts.v[w->position],
		.original = w->position < j->originals.n
		    ? j->originals.v[w->position] : STR_NONE,
	};
}

/* --- virtual users --- */

static struct str without_extension(struct walk *w, struct str address)
{
	struct str local, domain;
	ssize_t at = -1;

	mail_path_split(address, &local, &domain);
	for (size_t i = 1; i < local.n && at < 0; i++)
		if (strchr(service_params()->recipient_delimiter,
			local.p[i]) != NULL)
			at = (ssize_t)i;
	if (at < 0)
		return STR_NONE;
	local.n = (size_t)at;
	return domain.n == 0 ? arena_str(w->arena, local)
	    : arena_printf(w->arena, STR_FMT "@" STR_FMT, STR_ARG(local),
		STR_ARG(domain));
}

static void unknown_user(struct walk *w, struct str name)
{
	fail(w, "5.1.1", arena_printf(w->arena, "unknown user: \"" STR_FMT
	    "\"", STR_ARG(name)));
}

static void deliver_virtual(struct walk *w)
{
	struct str address = w->task->job.rcpts.v[w->position], shorter;
	struct deliver_request req = new_request(w, DELIVER_MAILBOX);
	struct deliver_reply rep;
	struct user u;
	bool found;

	ask_user(w, address, false, &req, &rep, &found, &u);
	shorter = found ? STR_NONE : without_extension(w, address);
	if (!found && shorter.n > 0)
		ask_user(w, shorter, false, &req, &rep, &found, &u);
	if (!found)
		unknown_user(w, address);
}

/* --- names and tables --- */

/* 1: *reply (strings in the arena), 0: there is none, -1: deferred. */
static int find_alias(struct walk *w, struct str name, struct str *value,
    bool *by_root)
{
	struct alias_request ask = { .name = name };
	struct alias_reply reply;
	struct conv *c;
	const char *why = "a table cannot be asked";
	int rc = 0;

	if (name.n == 0 || name.n > 256)
		return 0;
	if (service_ask("lookup", &alias_request_schema, &ask,
		&alias_reply_schema, &reply, LOOKUP_TIMEOUT, &c, &why) < 0)
		return defer(w, "4.3.0", arena_printf(w->arena,
		    "alias lookup: %s", why));
	if (reply.status == LOOKUP_OK) {
		*value = arena_str(w->arena, reply.value);
		*by_root = reply.by_root;
		rc = 1;
	} else if (reply.status == LOOKUP_TEMPFAIL) {
		rc = defer(w, "4.3.0", STR("alias database unavailable"));
	}
	conv_keep(&c);
	return rc;
}

/* Is there an alias or a user of that name here? 1, 0, -1 deferred. */
static int is_local(struct walk *w, struct str name)
{
	struct str value, base = without_extension(w, name);
	const char *why;
	bool by_root;
	struct user u;
	int rc = find_alias(w, name, &value, &by_root);

	if (rc == 0 && base.n > 0)
		rc = find_alias(w, base, &value, &by_root);
	if (rc != 0)
		return rc;
	switch (users_find(base.n > 0 ? base : name, false, false, w->arena,
	    &u, &why)) {
	case USERS_FOUND:
		return 1;
	case USERS_UNKNOWN:
		return 0;
	default:
		return defer(w, "4.3.0", arena_printf(w->arena, "%s", why));
	}
}

/* "NAME=value" in the arena. */
static struct str pair(struct walk *w, const char *name, struct str value)
{
	return arena_printf(w->arena, "%s=" STR_FMT, name, STR_ARG(value));
}

/* What commands find in their environment (local(8)). */
static struct strs environment(struct walk *w, const struct user *u,
    struct str name)
{
	const struct agent_job *j = &w->task->job;
	struct str rcpt = j->rcpts.v[w->position], original;
	struct str *v = arena_array(w->arena, 20, sizeof(*v));
	size_t n = 0;

	original = w->position < j->originals.n &&
	    j->originals.v[w->position].n > 0
	    ? j->originals.v[w->position] : rcpt;
	if (v == NULL)
		return (struct strs){ NULL, 0 };
	v[n++] = pair(w, "HOME", u->dir);
	v[n++] = pair(w, "USER", name);
	v[n++] = pair(w, "LOGNAME", name);
	v[n++] = pair(w, "SENDER", j->sender);
	v[n++] = pair(w, "RECIPIENT", rcpt);
	v[n++] = pair(w, "ORIGINAL_RECIPIENT", original);
	v[n++] = pair(w, "LOCAL", w->local);
	v[n++] = pair(w, "DOMAIN", w->domain);
	v[n++] = pair(w, "EXTENSION", w->extension);
	v[n++] = pair(w, "QUEUE_ID", j->queue_id);
	/* as forward_path writes them */
	v[n++] = pair(w, "home", u->dir);
	v[n++] = pair(w, "user", name);
	v[n++] = pair(w, "local", w->local);
	v[n++] = pair(w, "domain", w->domain);
	v[n++] = pair(w, "recipient", rcpt);
	v[n++] = pair(w, "extension", w->extension);
	/* ${recipient_delimiter}${extension} is empty without extension */
	v[n++] = pair(w, "recipient_delimiter", w->extension.n == 0
	    ? STR_NONE : str_sub(w->local, w->user.n, 1));
	return (struct strs){ v, n };
}

/* --- targets --- */

static int walk_targets(struct walk *, struct str value,
    const struct authority *);
static int deliver_user(struct walk *, struct str name, int depth,
    bool use_forward);

static bool is_permitted(const char *list, const char *origin)
{
	struct str rest = str_of(list), word;

	while (param_word(&rest, false, &word))
		if (str_eq_nocase_c(word, origin))
			return true;
	return false;
}

static int nobody_has_the_rights(struct walk *w, const struct authority *by)
{
	return defer(w, "4.3.5", arena_printf(w->arena, "there is no user "
	    "\"" STR_FMT "\" with whose rights commands and files could be "
	    "used", STR_ARG(by->user)));
}

static int run_as(struct walk *w, const struct authority *by,
    enum deliver_what what, struct str text, struct deliver_reply *rep)
{
	struct deliver_request req = new_request(w, what);
	const char *why;
	struct user u;
	bool found;

	/* his home is in the environment, without which a command may do
	 * the wrong thing */
	switch (users_find(by->user, true, false, w->arena, &u, &why)) {
	case USERS_FOUND:
		break;
	case USERS_UNKNOWN:
		return nobody_has_the_rights(w, by);
	case USERS_TEMPFAIL:
		return defer(w, "4.3.0", arena_printf(w->arena, "%s", why));
	}
	req.environment = environment(w, &u, by->user);
	if (what == DELIVER_COMMAND)
		req.command = text;
	else
		req.mailbox = text;
	ask_user(w, by->user, true, &req, rep, &found, &u);
	return found ? 0 : nobody_has_the_rights(w, by);
}

static int to_command_or_file(struct walk *w, const struct target *t,
    const struct authority *by)
{
	const struct params *p = service_params();
	bool is_command = t->kind == TARGET_COMMAND;
	struct deliver_reply rep;
	int rc = is_first(w, is_command ? "command" : "file", by->user,
	    t->text);

	if (rc <= 0)
		return rc;
	if (!is_permitted(is_command ? p->allow_mail_to_commands
		: p->allow_mail_to_files, by->origin)) {
		fail(w, "5.7.1", arena_printf(w->arena, "mail to %s is "
		    "restricted", is_command ? "command" : "file"));
		return settle(w);
	}
	if (run_as(w, by, is_command ? DELIVER_COMMAND : DELIVER_FILE,
		t->text, &rep) < 0)
		return -1;
	return settle(w);
}

static int to_include(struct walk *w, const struct target *t,
    const struct authority *by)
{
	struct authority included = *by;
	struct deliver_reply rep;

	included.origin = "include";
	included.depth++;
	if (run_as(w, by, DELIVER_INCLUDE, t->text, &rep) < 0)
		return -1;
	if (w->out.status != AGENT_SENT)
		/* its text begins with the path */
		return defer(w, w->out.status == AGENT_DEFERRED ? w->out.dsn
		    : "4.3.5", arena_printf(w->arena, "%s "
		    STR_FMT " includes " STR_FMT "; let user " STR_FMT " read "
		    "that file, or correct the %s", by->is_alias ? "alias"
			: ".forward of", STR_ARG(by->name),
		    STR_ARG(w->out.text), STR_ARG(by->user),
		    by->is_alias ? "alias" : ".forward"));
	return walk_targets(w, rep.content, &included);
}

static int add_forward(struct walk *w, struct str address)
{
	int rc = is_first(w, "address", STR_NONE, address);

	if (rc <= 0)
		return rc;
	if (w->nforward == w->room) {
		size_t room = w->room ? 2 * w->room : 16;
		struct str *more = arena_array(w->arena, room, sizeof(*more));

		if (more == NULL)
			return defer(w, "4.3.0", STR("no memory"));
		if (w->nforward > 0)
			memcpy(more, w->forward, w->nforward * sizeof(*more));
		w->forward = more;
		w->room = room;
	}
	w->forward[w->nforward++] = address;
	return 0;
}

static struct str lower(struct walk *w, struct str s)
{
	char *p = arena_cstr(w->arena, s);

	for (size_t i = 0; p != NULL && i < s.n; i++)
		p[i] = ascii_lower(p[i]);
	return p == NULL ? STR_NONE : str_n(p, s.n);
}

static int to_address(struct walk *w, const struct target *t,
    const struct authority *by)
{
	struct str local, domain, name;
	int here;

	mail_path_split(t->text, &local, &domain);
	name = lower(w, local);
	/* A name that names itself is the user; so is \name. */
	if ((domain.n == 0 || str_eq_nocase(domain, w->domain)) &&
	    (t->is_final || str_eq(name, by->name)))
		return deliver_user(w, name, by->depth + 1, by->is_alias);
	if (domain.n > 0)
		return add_forward(w, t->text);
	/* Without a domain it is of ours if it is there, else myorigin's. */
	if ((here = is_local(w, name)) < 0)
		return -1;
	return add_forward(w, here == 0 ? t->text : arena_printf(w->arena,
	    STR_FMT "@" STR_FMT, STR_ARG(local), STR_ARG(w->domain)));
}

static int walk_targets(struct walk *w, struct str value,
    const struct authority *by)
{
	const struct params *p = service_params();
	const char *why = "it is nested too deep";
	struct targets l;
	int rc = 0;

	if (by->depth > p->alias_recursion_limit || by->depth > DEPTH_MAX ||
	    targets_parse(value, (size_t)p->alias_expansion_limit, w->arena,
		&l, &why) < 0) {
		log_warn(STR_FMT ": expansion of " STR_FMT " (%s): %s",
		    STR_ARG(w->task->job.queue_id), STR_ARG(by->name),
		    by->origin, why);
		return defer(w, "4.3.5", arena_printf(w->arena, "%s of "
		    STR_FMT ": %s", by->origin, STR_ARG(by->name), why));
	}
	w->expanded += l.n;
	if (w->expanded > (size_t)p->alias_expansion_limit)
		return defer(w, "4.3.5", arena_printf(w->arena, STR_FMT
		    " becomes more than alias_expansion_limit addresses",
		    STR_ARG(by->name)));
	for (size_t i = 0; rc == 0 && i < l.n; i++) {
		switch (l.v[i].kind) {
		case TARGET_COMMAND:
		case TARGET_FILE:
			rc = to_command_or_file(w, &l.v[i], by);
			break;
		case TARGET_INCLUDE:
			rc = to_include(w, &l.v[i], by);
			break;
		case TARGET_ADDRESS:
			rc = to_address(w, &l.v[i], by);
			break;
		}
	}
	return rc;
}

/* --- system users --- */

/* home_mailbox, mailbox_command or mail_spool_directory. */
static int to_mailbox(struct walk *w, struct str name, const struct user *u)
{
	const struct params *p = service_params();
	struct deliver_request req = new_request(w, DELIVER_MAILBOX);
	struct authority self = { false, name, "forward", name, 0 };
	size_t spool = strlen(p->mail_spool_directory);
	struct deliver_reply rep;
	struct user again;
	bool found;
	int rc = is_first(w, "mailbox", name, STR_NONE);

	if (rc <= 0)
		return rc;
	if (!u->is_virtual && p->mailbox_command[0] != '\0') {
		if (run_as(w, &self, DELIVER_COMMAND,
			str_of(p->mailbox_command), &rep) < 0)
			return -1;
		return settle(w);
	}
	if (!u->is_virtual && p->home_mailbox[0] != '\0')
		req.mailbox = str_of(p->home_mailbox);
	else if (!u->is_virtual)
		req.mailbox = arena_printf(w->arena, "/" STR_FMT "%s",
		    STR_ARG(name), spool > 0 &&
		    p->mail_spool_directory[spool - 1] == '/' ? "/" : "");
	ask_user(w, name, false, &req, &rep, &found, &again);
	if (!found)
		unknown_user(w, name);
	return settle(w);
}

static int deliver_user(struct walk *w, struct str name, int depth,
    bool use_forward)
{
	struct deliver_request req = new_request(w, DELIVER_FORWARD);
	struct authority self = { false, name, "forward", name, depth };
	struct deliver_reply rep = { 0 };
	const char *why;
	struct user u;
	bool found;

	switch (users_find(name, false, false, w->arena, &u, &why)) {
	case USERS_UNKNOWN:
		unknown_user(w, name);
		return settle(w);
	case USERS_TEMPFAIL:
		return defer(w, "4.3.0", arena_printf(w->arena, "%s", why));
	case USERS_FOUND:
		break;
	}
	if (use_forward && !u.is_virtual) {
		req.environment = environment(w, &u, name);
		ask_user(w, name, false, &req, &rep, &found, &u);
		if (found && w->out.status != AGENT_SENT)
			return settle(w);
		if (found && rep.found && str_trim(rep.content).n > 0)
			return walk_targets(w, rep.content, &self);
	}
	return to_mailbox(w, name, &u);
}

/* --- the recipient --- */

/* An alias with an owner is a list: failures are told to him. */
static int find_owner(struct walk *w, struct str alias)
{
	struct str value, name = arena_printf(w->arena, "owner-" STR_FMT,
	    STR_ARG(alias));
	bool by_root;
	int rc;

	if (str_starts(alias, STR("owner-")) ||
	    w->task->job.sender.n == 0)
		return 0;
	rc = find_alias(w, name, &value, &by_root);
	if (rc > 0)
		w->owner = arena_printf(w->arena, STR_FMT "@" STR_FMT,
		    STR_ARG(name), STR_ARG(w->domain));
	return rc < 0 ? -1 : 0;
}

static int deliver_alias(struct walk *w, struct str name, struct str value,
    bool by_root)
{
	struct authority by = { true,
		str_of(service_params()->default_privs), "alias", name, 0 };

	if (!by_root) {
		/* who can write the table is not to have another's rights */
		log_warn("alias_maps: the table of " STR_FMT " is not root's "
		    "alone: its commands and files are not used",
		    STR_ARG(name));
		by.origin = "include";
	}
	if (find_owner(w, name) < 0)
		return -1;
	return walk_targets(w, value, &by);
}

static int send_on(struct walk *w)
{
	struct forward f = {
		.job = &w->task->job, .position = w->position,
		.sender = w->owner.n > 0 ? w->owner : w->task->job.sender,
		.rcpts = w->forward, .count = w->nforward,
		.is_list = w->owner.n > 0,
	};

	if (w->nforward == 0)
		return 0;
	forward_send(&f, w->arena, &w->out);
	return settle(w);
}

/* $user, $local, $domain, $extension, $recipient in luser_relay. */
static bool find_name(struct str name, struct str *value, void *ctx)
{
	const struct walk *w = ctx;
	const struct {
		const char *name;
		struct str value;
	} rows[] = {
		{ "user", w->user }, { "local", w->local },
		{ "domain", w->domain }, { "extension", w->extension },
		{ "recipient", w->task->job.rcpts.v[w->position] },
		{ "recipient_delimiter", w->extension.n == 0 ? STR_NONE
		    : str_sub(w->local, w->user.n, 1) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_eq_c(name, rows[i].name)) {
			*value = rows[i].value;
			return true;
		}
	return false;
}

/* Nobody is there: somebody looks after such mail. */
static int to_luser_relay(struct walk *w)
{
	const char *why;
	struct buf b;
	int rc;

	buf_init(&b, PATH_OCTETS);
	if (expand_text(str_of(service_params()->luser_relay), find_name, w,
		&b, &why) < 0) {
		log_warn("luser_relay: %s", why);
		rc = defer(w, "4.3.5", STR("luser_relay is not right"));
	} else {
		w->has_failed = false;
		rc = add_forward(w, arena_str(w->arena, buf_str(&b)));
	}
	buf_fini(&b);
	return rc;
}

static int deliver_name(struct walk *w)
{
	const struct params *p = service_params();
	struct str value, name = w->local;
	bool by_root = false;
	int rc = find_alias(w, w->local, &value, &by_root);

	if (rc == 0 && w->extension.n > 0) {
		name = w->user;
		rc = find_alias(w, w->user, &value, &by_root);
	}
	if (rc < 0)
		return -1;
	if (rc > 0)
		return deliver_alias(w, name, value, by_root);
	rc = deliver_user(w, w->user, 0, true);
	if (rc == 0 && w->has_failed && !w->has_sent && w->nforward == 0 &&
	    p->luser_relay[0] != '\0' &&
	    strcmp(w->failure.dsn, "5.1.1") == 0)
		return to_luser_relay(w);
	return rc;
}

static void deliver_local(struct walk *w)
{
	struct str rcpt = w->task->job.rcpts.v[w->position], base;

	mail_path_split(rcpt, &w->local, &w->domain);
	w->local = lower(w, w->local);
	base = without_extension(w, w->local);
	w->user = base.n > 0 ? base : w->local;
	w->extension = base.n > 0 ? str_from(w->local, base.n + 1) : STR_NONE;
	switch (forward_is_loop(&w->task->job, rcpt, w->arena)) {
	case 1:
		fail(w, "5.4.6", arena_printf(w->arena, "mail forwarding "
		    "loop for " STR_FMT, STR_ARG(rcpt)));
		return;
	case 0:
		break;
	default:
		defer(w, "4.3.0", STR("queue file cannot be read"));
		return;
	}
	if (deliver_name(w) < 0 || send_on(w) < 0)
		return;
	if (w->has_failed)
		w->out = w->failure;
	else if (!w->has_sent)
		fail(w, "5.3.5", arena_printf(w->arena, STR_FMT " leads "
		    "nowhere", STR_ARG(rcpt)));
}

void recipient_deliver(struct agent_task *t, size_t position,
    struct arena *a)
{
	struct walk w = { .task = t, .position = position, .arena = a };

	w.out.relay = t->job.transport;
	w.out.ready = 0;
	defer(&w, "4.3.0", STR("local delivery"));
	if (str_eq_c(t->job.transport, "virtual"))
		deliver_virtual(&w);
	else
		deliver_local(&w);
	w.out.relay = w.out.remote = t->job.transport;
	if (arena_failed(a))
		defer(&w, "4.3.0", STR("no memory for this recipient"));
	map_free(&w.seen, NULL);
	agent_report(t, position, &w.out);
}
