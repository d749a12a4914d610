/* serve_auth.c - auth, asked by programs that were taken over */
int auth_main(int, char **);
#define main auth_main
#include "auth/main.c"
#undef main
#include <stdlib.h>
#include <sys/stat.h>
#include "msgs/launch.h"
#include "msgs/lookup.h"
#include "tests/fuzz/fakes/serve.h"

static struct params params;
static unsigned seed;
static char path[64], file[80];

/* Delays are not waited for. */
int __wrap_nanosleep(const struct timespec *, struct timespec *);
int __wrap_nanosleep(const struct timespec *ts, struct timespec *left)
{
	(void)ts;
	(void)left;
	return 0;
}

/* What a password costs is no part of this. */
char *__wrap_crypt_rn(const char *, const char *, void *, int);
char *__wrap_crypt_rn(const char *key, const char *salt, void *data, int n)
{
	snprintf(data, (size_t)n, "%zu%.20s", strlen(key), salt);
	return data;
}

static void play_limits(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct limits_reply r = { .count = (seed += 5) % 3, .delay_us = 7 };

	(void)schema;
	(void)msg;
	fake_say(c, &limits_reply_schema, &r);
}

static void play_launch(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	struct launch_reply r = { .pid = 7, .edge = -1,
		.text = STR("no") };

	(void)schema;
	(void)msg;
	/* with an edge auth would keep it, over inputs */
	if ((seed += 7) % 4 == 0)
		fake_leave(c);
	else
		fake_say(c, &launch_reply_schema, &r);
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct verify_reply *v = msg;
	const struct mailbox_reply *m = msg;

	(void)c;
	if (schema == &verify_reply_schema) {
		fuzz_check(v->status >= AUTH_OK, "no status");
		fuzz_check(v->status != AUTH_OK ||
		    str_eq_c(v->user, "anna@our.test"),
		    "somebody else is logged in");
	} else if (schema == &mailbox_reply_schema) {
		fuzz_check(m->status != AUTH_OK, "a way without a process");
	}
}

static void clean(void)
{
	unlink(file);
	rmdir(path);
}

static void write_users(void)
{
	static const char text[] = "anna@our.test:{PLAIN}pass word-1\n"
	    "bob@our.test:{UNKNOWN}x\ncarol@our.test:\n";
	int fd;

	snprintf(path, sizeof(path), "%s/postern-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fuzz_check(mkdtemp(path) != NULL, "no directory");
	snprintf(file, sizeof(file), "%s/users", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	fuzz_check(write(fd, text, sizeof(text) - 1) == sizeof(text) - 1,
	    "no users");
	close(fd);
	atexit(clean);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char value[120];
	struct str values[2];
	const char *why;
	struct user u;

	fuzz_mute_log();
	write_users();
	snprintf(value, sizeof(value), "auth_users_file=%s", file);
	values[0] = str_of(value);
	values[1] = STR("mydomain=our.test");
	fake_arena = arena_new(1 << 20);
	fuzz_check(params_load(&params, values, 2, fake_arena, &why) == 0, "%s",
	    why);
	fake_params = &params;
	auth_main(*argc, *argv);
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	limits_client_free(&self.limits);
	/* the C library keeps what it opens to look */
	(void)users_find(self.users, STR("root"), &u);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char *const clients[] = { "smtpd", "login", "lookup",
		"local", "cleanup" };
	static const struct msg_schema *const kinds[] = {
		&verify_request_schema, &verify_request_schema,
		&user_request_schema, &mailbox_request_schema,
		&verify_reply_schema, &resolve_request_schema, NULL };
	static const struct verify_request verify_one = {
		.user = STR("anna@our.test"), .password = STR("wrong"),
		.service = STR("smtp"), .client_addr = STR("192.0.2.1") };
	static const struct msg_schema *const limits[] = {
		&limits_request_schema, NULL };
	static const struct msg_schema *const launch[] = {
		&launch_request_schema, NULL };
	size_t which = n > 0 ? p[0] % 5 : 0;
	struct serve s = { .client = clients[which], .kinds = kinds,
		.hear = hear, .heap = 24 << 20 };

	if (which < 2) {
		s.kind = &verify_request_schema;
		s.question = &verify_one;
	}
	seed = 1;
	fake_edge("limits", play_limits, limits);
	fake_edge("launch", play_launch, launch);
	self.limits = limits_client_new(service_edge("limits"));
	serve_input(&s, p + (n > 0), n - (n > 0));
	limits_client_free(&self.limits);
	fake_forget();
	return 0;
}
