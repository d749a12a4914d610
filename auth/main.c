/*
 * auth - knows the users: their passwords, where their mail lives, and which
 * process serves them
 *
 * Hears from:  smtpd, login (name and password), lookup (is there such a
 *              user), local (where a delivery goes): msgs/auth.h
 * Talks to:    launch (orders a process), limits (failed logins)
 * Runs as:     postern-auth; sees the configuration directory and /etc
 * Owns:        the users in memory, the edges to their processes
 * Start at:    verify()
 * RFCs:        none of its own
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "auth/cache.h"
#include "auth/password.h"
#include "auth/sessions.h"
#include "auth/users.h"
#include "base/clock.h"
#include "base/log.h"
#include "msgs/auth.h"
#include "msgs/limits.h"
#include "service/service.h"

#define SEND_TIME (10 * CLOCK_SECOND)
#define HASH_TIME (20 * CLOCK_SECOND)

static struct {
	struct users *users;
	struct cache *cache;
	struct limits_client *limits;
} self;

/* Delays of failed logins: a stop need not wait for them. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool stopping;
} delays = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.over = PTHREAD_COND_INITIALIZER };

static void wait_us(uint64_t us)
{
	int64_t until = clock_wall() + (int64_t)us;
	struct timespec ts = { .tv_sec = until / CLOCK_SECOND,
		.tv_nsec = until % CLOCK_SECOND * 1000 };

	if (us == 0)
		return;
	pthread_mutex_lock(&delays.lock);
	while (!delays.stopping && pthread_cond_timedwait(&delays.over,
	    &delays.lock, &ts) != ETIMEDOUT)
		continue;
	pthread_mutex_unlock(&delays.lock);
}

static bool drain(bool stopping)
{
	pthread_mutex_lock(&delays.lock);
	delays.stopping |= stopping;
	pthread_cond_broadcast(&delays.over);
	pthread_mutex_unlock(&delays.lock);
	return true;
}

/* Tells `limits` and returns its answer; zeros when it is away. */
static struct limits_reply tell(enum limits_event event,
    const struct verify_request *q, const char *user)
{
	struct limits_request r = {
		.event = event, .service = q->service,
		.client_addr = q->client_addr, .user = str_of(user),
	};
	struct limits_reply reply;

	(void)limits_tell(self.limits, &r, &reply);
	return reply;
}

/* What the log says about a login; nobody else learns it. */
static void say(const struct verify_request *q, const char *what)
{
	char name[256];
	size_t n = 0;

	/* who bans by this line takes the address behind the comma for the
	 * client's: none of the user's making is to stand there */
	for (; n < q->user.n && n < sizeof(name) - 1; n++) {
		unsigned char c = (unsigned char)q->user.p[n];

		name[n] = c <= ' ' || strchr("(),<>", c) != NULL ? '?'
		    : (char)c;
	}
	log_info("passwd-file(" STR_FMT "," STR_FMT "): %s",
	    STR_ARG(str_n(name, n)), STR_ARG(q->client_addr), what);
}

/* What a wrong password costs most users. */
static void check_nobody(const struct verify_request *q)
{
	char example[USERS_HASH_MAX];

	users_example_hash(self.users, example);
	password_check_nobody(str_of(example), q->password,
	    clock_now() + HASH_TIME);
}

/* AUTH_OK, AUTH_NO or AUTH_TEMPFAIL. Takes the same time for a user who does
 * not exist as for a wrong password. */
static enum auth_status check(const struct verify_request *q, struct user *u)
{
	int64_t now = clock_now();
	enum users_found found = users_find_login(self.users, q->user, u);
	struct str hash = str_of(u->hash), name = str_of(u->name);

	if (found == USERS_UNAVAILABLE) {
		say(q, "users cannot be read");
		return AUTH_TEMPFAIL;
	}
	if (found == USERS_NO || hash.n == 0) {
		check_nobody(q);
		say(q, found == USERS_NO ? "unknown user" :
		    "user has no password");
		return AUTH_NO;
	}
	if (cache_knows(self.cache, name, hash, q->password, now))
		return AUTH_OK;
	switch (password_check(hash, q->password, now + HASH_TIME)) {
	case PASSWORD_RIGHT:
		cache_remember(self.cache, name, hash, q->password,
		    clock_now());
		return AUTH_OK;
	case PASSWORD_WRONG:
		if (!password_is_hashed(hash))
			check_nobody(q);
		say(q, "Password mismatch");
		return AUTH_NO;
	case PASSWORD_UNKNOWN_SCHEME:
		log_warn("user %s: a password scheme that is not known here",
		    u->name);
		return AUTH_TEMPFAIL;
	case PASSWORD_BUSY:
		break;
	}
	say(q, "too many logins at a time");
	return AUTH_TEMPFAIL;
}

static void verify(const struct verify_request *q, struct verify_reply *reply,
    struct user *u)
{
	struct limits_reply before = { 0 };
	const char *why;

	/* A good login behind us is cheap; failures stand in limits. */
	if (!q->again) {
		/* for the name that limits knows him by */
		(void)users_find_login(self.users, q->user, u);
		before = tell(LIMITS_LOGIN_ASK, q, u->name);
	}
	wait_us(before.delay_us);
	reply->status = check(q, u);
	reply->user = str_of(u->name);
	if (reply->status == AUTH_NO) {
		wait_us(tell(LIMITS_LOGIN_FAILED, q, u->name).delay_us);
		return;
	}
	if (reply->status != AUTH_OK)
		return;
	if (before.count > 0)
		(void)tell(LIMITS_LOGIN_GOOD, q, u->name);
	if (!q->want_session)
		return;
	if (sessions_edge(str_eq_c(q->service, "pop3") ? LAUNCH_POP3D :
	    LAUNCH_IMAPD, u, q->again, &reply->session, &why) != 0) {
		reply->status = AUTH_TEMPFAIL;
		reply->text = str_of(why);
	}
}

static void find_mailbox(const struct mailbox_request *m,
    struct mailbox_reply *reply, struct user *u)
{
	static const enum auth_status statuses[] = {
		[USERS_YES] = AUTH_OK, [USERS_NO] = AUTH_NO,
		[USERS_UNAVAILABLE] = AUTH_TEMPFAIL,
	};
	const char *why;

	reply->status = statuses[users_find(self.users, m->address, u)];
	if (reply->status != AUTH_OK)
		return;
	reply->user = str_of(u->name);
	reply->uid = u->uid;
	reply->gid = u->gid;
	reply->is_virtual = u->is_virtual;
	reply->dir = str_of(u->dir);
	/* no command has the rights of the one who owns all mail */
	if (m->command && u->is_virtual) {
		reply->status = AUTH_NO;
		return;
	}
	if (sessions_edge(m->command ? LAUNCH_COMMAND : LAUNCH_DELIVER, u,
	    false, &reply->deliver, &why) != 0) {
		log_warn("no process delivers to %s: %s", u->name, why);
		reply->status = AUTH_TEMPFAIL;
	}
}

static int answer(struct conv *c, const struct msg_schema *schema, void *msg)
{
	const char *why;
	int r = conv_send(c, schema, msg, clock_now() + SEND_TIME, &why);

	msg_close_fds(schema, msg);
	return r;
}

union request {
	struct verify_request verify;
	struct user_request user;
	struct mailbox_request mailbox;
};

static int answer_verify(struct conv *c, const union request *q)
{
	struct verify_reply reply = { .session = -1 };
	struct user u = { .uid = (uid_t)-1 };

	verify(&q->verify, &reply, &u);
	return answer(c, &verify_reply_schema, &reply);
}

static int answer_user(struct conv *c, const union request *q)
{
	struct user_reply reply = { .status = AUTH_NO };
	struct user u = { .uid = (uid_t)-1 };
	enum users_found found = users_find(self.users, q->user.address, &u);

	if (found != USERS_NO)
		reply.status = found == USERS_YES ? AUTH_OK : AUTH_TEMPFAIL;
	return answer(c, &user_reply_schema, &reply);
}

static int answer_mailbox(struct conv *c, const union request *q)
{
	struct mailbox_reply reply = { .deliver = -1 };
	struct user u = { .uid = (uid_t)-1 };

	find_mailbox(&q->mailbox, &reply, &u);
	return answer(c, &mailbox_reply_schema, &reply);
}

/* Who may ask what. */
static const struct right {
	const char *client;
	const struct msg_schema *request;
	int (*answer)(struct conv *, const union request *);
} rights[] = {
	{ "smtpd", &verify_request_schema, answer_verify },
	{ "login", &verify_request_schema, answer_verify },
	{ "lookup", &user_request_schema, answer_user },
	{ "local", &mailbox_request_schema, answer_mailbox },
};

static void converse(struct conv *c, const char *client)
{
	const struct right *right = NULL;
	const struct msg_schema *got;
	const char *why = "this program may ask nothing";
	enum conv_got how = CONV_BROKEN;
	union request q;

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if (strcmp(rights[i].client, client) == 0)
			right = &rights[i];
	while (right != NULL && (how = service_recv(c, &right->request, 1,
	    &got, &q, &why)) == CONV_MESSAGE)
		if (right->answer(c, &q) != 0)
			break;
	if (how == CONV_BROKEN)
		log_warn("conversation with %s: %s", client, why);
	conv_close(&c);
}

/* The users file by way of the directory that we were given, for the
 * directories above it may be closed to us. */
static void locate_users(const struct params *p, struct users_options *o)
{
	size_t n = strlen(p->config_directory);

	o->dirfd = AT_FDCWD;
	o->path = p->auth_users_file;
	if (n > 0 && service_dir("etc") >= 0 &&
	    strncmp(o->path, p->config_directory, n) == 0 &&
	    o->path[n] == '/') {
		o->dirfd = service_dir("etc");
		o->path += n + 1;
	}
}

static int start(void)
{
	cpu_set_t set;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		password_set_workers((unsigned)CPU_COUNT(&set));
	return 0;
}

static int ready(struct loop *loop)
{
	const struct params *p = service_params();
	struct users_options o = {
		.mail_root = p->virtual_mailbox_base,
		.mail_uid = p->mail_uid,
		.default_domain = p->smtpd_sasl_local_domain[0] != '\0' ?
		    p->smtpd_sasl_local_domain : p->mydomain,
		.minimum_uid = (uid_t)p->minimum_uid,
		.one_uid = !service_is_privileged(),
	};

	(void)loop;
	locate_users(p, &o);
	self.users = users_new(&o);
	self.cache = cache_new(p->auth_cache_time * CLOCK_SECOND);
	self.limits = limits_client_new(service_edge("limits"));
	return self.users != NULL && self.cache != NULL &&
	    self.limits != NULL ? 0 : -1;
}

int main(int argc, char **argv)
{
	static const struct service service = {
		.name = "auth",
		.start = start,
		.ready = ready,
		.converse = converse,
		.drain = drain,
	};

	return service_main(argc, argv, &service);
}
