/*
 * serve_launch.c - launch, ordered about by an auth that was taken over
 *
 * launch runs as root. Whatever it is ordered, no process gets uid or gid 0
 * or one below minimum_uid (nor, in a user's instance, another than that
 * user's); a virtual user's directory stays below the mail root and the process
 * behind its wall; the spool of mailboxes goes to a system user's deliver
 * alone. Who is answered with a process has one of just that program, user,
 * uid and directory; only its own children are killed; it forgets all of them.
 */
int launch_main(int, char **);
#define main launch_main
#include "launch/main.c"
#undef main
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/serve.h"

#define ACTIONS 60
#define CHILDREN 64
#define ORDERS 64

static struct params params;
static struct fuzz_in *input;

/* --- its children ------------------------------------------------------ */

static struct process {
	pid_t pid;		/* 0: it ended, or never was */
	bool dies;
	struct launch_request as;	/* what it was told to be */
	uid_t uid;
	gid_t gid;
	int control;		/* conv_fd() */
	int edge;		/* its end */
	bool has_mailspool;
} processes[CHILDREN];
static size_t process_count;

pid_t __wrap_waitpid(pid_t, int *, int);
int __wrap_kill(pid_t, int);

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	fuzz_check(pid == -1 && options == WNOHANG, "it waits");
	for (size_t i = 0; i < process_count; i++) {
		struct process *p = &processes[i];

		if (p->pid == 0 || !p->dies)
			continue;
		pid = p->pid;
		*status = (int)fuzz_number(input, 1) * 0x100;
		if (p->edge >= 0)
			close(p->edge);
		p->edge = -1;
		p->pid = 0;
		return pid;
	}
	return 0;
}

int __wrap_kill(pid_t pid, int sig)
{
	size_t i = 0;

	while (i < process_count && processes[i].pid != pid)
		i++;
	fuzz_check(i < process_count && sig == SIGKILL,
	    "it kills %d, which is not its child", (int)pid);
	processes[i].dies = true;
	return 0;
}

static void hear_control(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct control_start *s = msg;
	struct process *p = *fake_state(c);

	if (schema != &control_start_schema)
		return;
	p->as.user = fuzz_exact(s->arg);
	p->as.dir = fuzz_exact(s->dir);
	for (p->as.program = LAUNCH_IMAPD; p->as.program < LAUNCH_COMMAND &&
	    !str_eq_c(s->program, programs[p->as.program]);)
		p->as.program++;
	fuzz_check(str_eq_c(s->program, programs[p->as.program]), "program");
	fuzz_check(fake_privileged ? s->uid == p->uid && s->gid == p->gid
	    : s->uid == UINT32_MAX, "it is told another uid");
	fuzz_check(!str_has_nul(s->dir), "a NUL in its directory");
	fuzz_check(s->confine_dir || s->dir.n == 0 ||
	    p->as.program == LAUNCH_COMMAND, "no wall");
}

pid_t spawn_program(int exec_fd, const char *name,
    const struct spawn_identity *id, struct conv **control_r)
{
	struct process *p = &processes[process_count];

	fuzz_check(exec_fd == -1 && name != NULL, "another program");
	if (fake_privileged)
		fuzz_check(id != NULL && id->uid >= (uid_t)params.minimum_uid &&
		    id->uid != 0 && id->gid != 0 && id->uid != (uid_t)-1 &&
		    id->gid != (gid_t)-1, "a process of uid %u, gid %u",
		    (unsigned)id->uid, (unsigned)id->gid);
	else
		fuzz_check(id == NULL, "a uid in a user's instance");
	if (process_count == CHILDREN || fuzz_number(input, 15) == 15) {
		errno = EAGAIN;
		return -1;
	}
	*p = (struct process){ .pid = (pid_t)(1000 + process_count),
		.edge = -1 };
	if (id != NULL) {
		p->uid = id->uid;
		p->gid = id->gid;
	}
	*control_r = fake_client(name, hear_control);
	*fake_state(*control_r) = p;
	p->control = conv_fd(*control_r);
	fake_full(*control_r, fuzz_number(input, 31) == 31);
	process_count++;
	return p->pid;
}

int spawn_give(struct conv *control, enum control_kind kind,
    const char *name, int fd)
{
	struct process *p = *fake_state(control);

	if (kind == CONTROL_DIR && strcmp(name, "mailspool") == 0)
		p->has_mailspool = true;
	fuzz_check(fd >= 0, "%s is given and is not there", name);
	return 0;
}

int spawn_give_served(struct conv *control, const char *client, int fd,
    size_t most)
{
	struct process *p = *fake_state(control);

	(void)client;
	fuzz_check(most > 0, "no conversations");
	p->edge = dup(fd);
	return 0;
}

int service_exec(const char *program)
{
	(void)program;
	return -1;
}

struct strs service_pairs(void)
{
	return (struct strs){ NULL, 0 };
}

int service_log_fd(void)
{
	return -1;
}

/* --- auth -------------------------------------------------------------- */

static struct auth {
	int fd;			/* conv_fd() */
	struct launch_request orders[ORDERS];
	size_t said, heard;
} auths[2];

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct launch_reply *r = msg;
	struct auth *a = *fake_state(c);
	const struct launch_request *q = &a->orders[a->heard++];
	const struct process *p;

	fuzz_check(schema == &launch_reply_schema && a->heard <= a->said,
	    "another answer");
	fuzz_check((r->pid > 0) == (r->edge >= 0) &&
	    (r->pid > 0) == (r->text.n == 0), "a process or a reason");
	if (r->pid == 0)
		return;
	fuzz_check(r->pid >= 1000 && r->pid < 1000 + process_count,
	    "no process of its own");
	p = &processes[r->pid - 1000];
	fuzz_check(p->as.program == q->program && str_eq(p->as.user, q->user) &&
	    str_eq(p->as.dir, q->dir), "another's process");
	fuzz_check(!fake_privileged || (p->uid == q->uid && p->gid == q->gid),
	    "another uid's process");
	fuzz_check(!q->again || r->pid == 1000 + process_count - 1,
	    "one that runs already");
	fuzz_check(!q->is_virtual || q->dir.n == 0 || q->dir.p[0] != '/',
	    "a directory outside of the mail root");
}

static uint64_t draw(void *ctx, uint64_t max)
{
	return max == 0 ? 0 : fuzz_number(ctx, max);
}

static void order(struct auth *a, struct conv *c)
{
	static const uint64_t ids[] = { 0, 1, 999, 1000, 1001, 65534,
		UINT32_MAX };
	static const char *const dirs[] = { "", "our.test/anna", "/home/anna",
		"../x" };
	static _Alignas(16) char room[GARBLE_SIZE];
	struct launch_request *q = (struct launch_request *)room;
	struct garble g = { .draw = draw, .ctx = input, .arena = serve_scratch };
	const char *why;
	size_t nfds = 0;
	int fds[MSG_FD_MAX];
	struct buf b;

	garble_fill(&g, &launch_request_schema, q);
	if (fuzz_number(input, 3) > 0) {
		q->program = 1 + fuzz_number(input, 3);
		q->uid = ids[fuzz_number(input, 6)];
		q->gid = ids[fuzz_number(input, 6)];
		q->user = STR("anna@our.test");
		q->dir = str_of(dirs[fuzz_number(input, 3)]);
		if (!fake_privileged && fuzz_bool(input))
			q->uid = geteuid();
	}
	buf_init(&b, MSG_MAX + 16);
	if (a->said < ORDERS && msg_encode(&launch_request_schema, q, &b, fds,
	    &nfds, &why) == 0) {
		q->user = fuzz_exact(q->user);
		q->dir = fuzz_exact(q->dir);
		a->orders[a->said++] = *q;
		fake_say_raw(c, buf_str(&b), NULL, 0);
	}
	buf_fini(&b);
	arena_reset(serve_scratch);
}

/* --- one input --------------------------------------------------------- */

static void end_children(void)
{
	on_child(-1, LOOP_READ, NULL);
}

static void act(void)
{
	unsigned what = fuzz_octet(input);
	struct auth *a = &auths[what / 16 % 2];
	struct conv *c = fake_find(a->fd);
	struct process *p = process_count == 0 ? NULL :
	    &processes[what / 16 % process_count];

	switch (what % 16) {
	case 0:
		if (c != NULL)
			break;
		c = fake_client("auth", hear);
		*a = (struct auth){ .fd = conv_fd(c) };
		*fake_state(c) = a;
		serve_program->conv_arrived(c, "auth");
		break;
	case 1: case 2: case 3: case 4: case 5:
		if (c != NULL)
			order(a, c);
		break;
	case 6: case 7: case 8: case 9:
		fake_fire(a->fd, LOOP_READ);
		break;
	case 10:
		if (c != NULL && what & 128) {
			static const struct msg_schema *const kinds[] = {
				&launch_reply_schema, &control_start_schema,
				NULL };
			const struct serve s = { .client = "auth",
				.kinds = kinds };

			a->said = ORDERS;
			serve_say(&s, input, c, serve_scratch);
		} else if (c != NULL) {
			fake_leave(c);
		}
		break;
	case 11: /* a process ends, and launch hears of it */
		if (p != NULL)
			p->dies = true;
		end_children();
		break;
	case 12: /* it ended, and launch does not know yet */
		if (p != NULL && p->edge >= 0) {
			close(p->edge);
			p->edge = -1;
		}
		break;
	case 13: /* it says something, or breaks its control conversation */
		if (p == NULL || fake_find(p->control) == NULL)
			break;
		if (what & 128)
			fake_say(fake_find(p->control), &control_idle_schema,
			    NULL);
		else
			fake_leave(fake_find(p->control));
		fake_fire(p->control, LOOP_READ);
		break;
	default:
		if (c != NULL)
			fake_full(c, what & 128);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	serve_init(&params, launch_main);
	fake_dir = fake_mailspool = fuzz_directory(NULL);
	fuzz_check(serve_program->ready(NULL) == 0, "no start");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);

	input = &in;
	fake_privileged = fuzz_bool(&in);
	process_count = 0;
	memset(auths, 0, sizeof(auths));
	serve_begin();
	for (unsigned i = 0; i < ACTIONS && in.rest.n > 0; i++)
		act();
	for (size_t i = 0; i < 2; i++) {
		struct conv *c = fake_find(auths[i].fd);

		if (c == NULL)
			continue;
		fake_full(c, false);
		fake_leave(c);
		while (fake_find(auths[i].fd) != NULL)
			fake_fire(auths[i].fd, LOOP_READ);
	}
	for (size_t i = 0; i < process_count; i++) {
		const struct process *q = &processes[i];

		fuzz_check(!q->has_mailspool ||
		    q->as.program == LAUNCH_DELIVER,
		    "the mailboxes' spool for another program");
		processes[i].dies = true;
	}
	end_children();
	fuzz_check(self.count == 0 && LIST_EMPTY(&self.children),
	    "children are left");
	fuzz_check(fake_watches() == 1, "a conversation is never closed");
	serve_end(16 << 20);
	return 0;
}
