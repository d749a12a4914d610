/*
 * plan.c - from main.cf and master.cf to groups of processes
 *
 * Lines of master.cf name services as Postfix does; config/commands.h says
 * which program answers a command, so that files of sites work. Internal
 * programs are started whether a line names them or not; a line gives them
 * its -o and its process limit.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "config/commands.h"
#include "master/master.h"

/* What a command needs beside the program that answers for it
 * (config/commands.h). */
struct extra {
	const char *command;
	const char *socket;	/* name in public/ that it listens on */
	const char *preset;	/* "name=value" that a line's -o may override */
};

static const struct extra extras[] = {
	{ "pickup", "pickup", NULL },
	{ "imap-login", NULL, "login_protocol=imap" },
	{ "pop3-login", NULL, "login_protocol=pop3" },
};

static const struct extra *extra_of(const char *command)
{
	static const struct extra none;

	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
		if (strcmp(extras[i].command, command) == 0)
			return &extras[i];
	return &none;
}

/* The program that answers for a line, or NULL. */
static const char *program_of(const struct master_service *s)
{
	const struct master_command *c = command_find(str_of(s->command));

	return c ? c->program : NULL;
}

uid_t plan_uid(const struct plan *plan, const struct sandbox *row,
    gid_t *gid_r)
{
	char name[64];
	struct passwd *pw;

	if (!master.privileged)
		return (uid_t)-1;
	if (row->capabilities != 0) { /* launch */
		*gid_r = 0;
		return 0;
	}
	if (plan->params.service_uid_base > 0) {
		*gid_r = (gid_t)plan->params.service_uid_base + row->number;
		return (uid_t)plan->params.service_uid_base + row->number;
	}
	snprintf(name, sizeof(name), "postern-%s", row->name);
	if ((pw = getpwnam(name)) == NULL) {
		log_warn("there is no user %s; the package or sysusers.d "
		    "makes it", name);
		return (uid_t)-2;
	}
	*gid_r = pw->pw_gid;
	return pw->pw_uid;
}

static bool report_problems(const struct config *c, bool print)
{
	size_t n;
	const struct config_problem *p = config_problems(c, &n);

	for (size_t i = 0; i < n; i++) {
		struct buf line;

		buf_init(&line, 4096);
		config_problem_print(&p[i], master.config_dir, &line);
		if (print)
			fprintf(stderr, "%s\n", buf_cstr(&line));
		else
			log_warn("%s", buf_cstr(&line));
		buf_fini(&line);
	}
	return config_error_count(c) == 0;
}

static struct group *new_group(struct plan *plan, const struct sandbox *row,
    const char *service)
{
	struct group *g = ARENA_NEW(plan->arena, struct group), *other;

	if (g == NULL)
		log_fatal("no memory for the configuration");
	g->row = row;
	g->service = service;
	g->processes = row->processes;
	g->first = true;
	TAILQ_FOREACH(other, &plan->groups, link)
		if (other->row == row)
			g->first = false;
	TAILQ_INSERT_TAIL(&plan->groups, g, link);
	return g;
}

static struct group *find_group(struct plan *plan, const char *program)
{
	struct group *g;

	TAILQ_FOREACH(g, &plan->groups, link)
		if (strcmp(g->row->name, program) == 0)
			return g;
	return NULL;
}

static void set_pairs(struct plan *plan, struct group *g,
    const struct master_service *s, const char *preset)
{
	struct str *pairs;
	size_t n;

	if (config_service_values(plan->config, s, plan->arena, &pairs,
		&n) < 0)
		log_fatal("no memory for the configuration");
	g->pairs = pairs;
	g->npairs = n;
	if (preset == NULL)
		return;
	g->pairs = arena_array(plan->arena, n + 1, sizeof(*pairs));
	if (g->pairs == NULL)
		log_fatal("no memory for the configuration");
	g->pairs[0] = str_of(preset); /* a later pair of that name wins */
	memcpy(g->pairs + 1, pairs, n * sizeof(*pairs));
	g->npairs = n + 1;
}

static size_t sessions_of(const struct plan *plan,
    const struct master_service *s, unsigned processes)
{
	long limit = s == NULL || s->limit == MASTER_LIMIT_DEFAULT
	    ? (long)plan->params.default_process_limit : s->limit;

	if (limit == 0) /* none */
		return 100000;
	return ((size_t)limit + processes - 1) / processes;
}

static int add_listener(struct plan *plan, struct group *g, const char *name,
    const char *address, unsigned line)
{
	struct listener *l = socket_listen(address);

	if (l == NULL) {
		const char *hint = errno == EADDRINUSE
		    ? "; another program has that port: stop it, or choose "
		      "another in master.cf"
		    : errno == EACCES ? "; ports below 1024 need root" : "";

		/* the first start is on somebody's terminal */
		if (master.plan == NULL)
			fprintf(stderr, "%s/master.cf:%u: error: cannot "
			    "listen on %s: %s%s\n", master.config_dir, line,
			    address + 5, strerror(errno), hint);
		else
			log_warn("master.cf:%u: cannot listen on %s: %s%s",
			    line, address + 5, strerror(errno), hint);
		return -1;
	}
	if (g->nlisteners == 64) {
		log_warn("master.cf:%u: more than 64 listeners", line);
		return -1;
	}
	g->listeners[g->nlisteners++] = (struct group_listener){
		.name = arena_cstr(plan->arena, str_of(name)), .listener = l };
	return 0;
}

static bool uses(const struct plan *plan, const char *protocol)
{
	const char *p = plan->params.inet_protocols;

	return strstr(p, "all") != NULL || strstr(p, protocol) != NULL;
}

/* All addresses that inet_interfaces names, each with the port. */
static int listen_everywhere(struct plan *plan, struct group *g,
    const struct master_service *s)
{
	struct str rest = str_of(plan->params.inet_interfaces), word;
	char address[256];
	int count = 0;

	while (param_word(&rest, false, &word)) {
		const char *v4 = NULL, *v6 = NULL;

		/* "[::1]", as Postfix has it too */
		if (word.n > 2 && word.p[0] == '[' &&
		    word.p[word.n - 1] == ']')
			word = str_sub(word, 1, word.n - 2);
		if (str_eq_nocase_c(word, "all")) {
			v4 = "0.0.0.0";
			v6 = "::";
		} else if (str_eq_nocase_c(word, "loopback-only") ||
		    str_eq_nocase_c(word, "localhost")) {
			v4 = "127.0.0.1";
			v6 = "::1";
		} else if (str_chr(word, ':') >= 0)
			v6 = arena_cstr(plan->arena, word);
		else
			v4 = arena_cstr(plan->arena, word);
		if (v4 != NULL && uses(plan, "ipv4")) {
			snprintf(address, sizeof(address), "inet:%s:%u", v4,
			    s->port);
			if (add_listener(plan, g, s->name, address,
				s->line) < 0)
				return -1;
			count++;
		}
		if (v6 != NULL && uses(plan, "ipv6")) {
			snprintf(address, sizeof(address), "inet:%s:%u", v6,
			    s->port);
			/* a host without IPv6 is no reason to stay down */
			if (strcmp(v6, "::1") == 0 || strcmp(v6, "::") == 0) {
				struct listener *l = socket_listen(address);

				if (l == NULL && (errno == EAFNOSUPPORT ||
				    errno == EADDRNOTAVAIL))
					continue;
			}
			if (add_listener(plan, g, s->name, address,
				s->line) < 0)
				return -1;
			count++;
		}
	}
	return count > 0 ? 0 : -1;
}

static int plan_inet(struct plan *plan, const struct master_service *s)
{
	struct group *g = new_group(plan, sandbox_find(program_of(s)),
	    arena_cstr(plan->arena, str_of(s->command)));
	char address[256];

	g->on_tcp = true;
	g->on_demand = !g->first || strcmp(g->row->name, "smtpd") != 0;
	g->session_max = sessions_of(plan, s, g->processes);
	set_pairs(plan, g, s, extra_of(s->command)->preset);
	if (s->host == NULL)
		return listen_everywhere(plan, g, s);
	snprintf(address, sizeof(address), "inet:%s:%u", s->host, s->port);
	return add_listener(plan, g, s->name, address, s->line);
}

/* The programs that run whatever master.cf says, in order of start. */
static void plan_internal(struct plan *plan, const struct master_service *all,
    size_t n)
{
	for (const struct sandbox *row = sandbox_programs; row->name; row++) {
		const struct master_service *line = NULL;
		struct group *g;

		if (row->processes == 0 || strcmp(row->name, "smtpd") == 0 ||
		    strcmp(row->name, "login") == 0)
			continue;
		for (size_t i = 0; i < n && line == NULL; i++) {
			const char *program = program_of(&all[i]);

			if (all[i].type != MASTER_INET && program != NULL &&
			    strcmp(program, row->name) == 0)
				line = &all[i];
		}
		g = new_group(plan, row, row->name);
		/* Postfix's one pickup only looks into maildrop: the 1 that
		 * every site has there is no limit of callers */
		g->session_max = sessions_of(plan,
		    line != NULL && line->limit == 1 &&
		    strcmp(row->name, "pickup") == 0 ? NULL : line,
		    g->processes);
		set_pairs(plan, g, line, NULL);
	}
}

static int plan_sockets(struct plan *plan, const struct master_service *all,
    size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *name = extra_of(all[i].command)->socket;
		char address[4200];

		if (all[i].type == MASTER_INET || name == NULL)
			continue;
		snprintf(address, sizeof(address), "unix:%s/%s",
		    plan->params.queue_directory, name);
		if (add_listener(plan, find_group(plan, program_of(&all[i])),
			name, address, all[i].line) < 0)
			return -1;
	}
	return 0;
}

static int make_groups(struct plan *plan)
{
	struct group *g;
	size_t n;
	const struct master_service *all = config_services(plan->config, &n);

	plan_internal(plan, all, n);
	for (size_t i = 0; i < n; i++) {
		const char *program = program_of(&all[i]);

		if (all[i].type != MASTER_INET)
			continue;
		if (program == NULL || (strcmp(program, "smtpd") != 0 &&
			strcmp(program, "login") != 0)) {
			log_warn("master.cf:%u: service %s: \"%s\" does not "
			    "serve the network; the line is skipped",
			    all[i].line, all[i].name, all[i].command);
			continue;
		}
		if (plan_inet(plan, &all[i]) < 0)
			return -1;
	}
	TAILQ_FOREACH(g, &plan->groups, link)
		plan->sessions += g->session_max * g->processes;
	return 0;
}

struct plan *plan_read(bool print)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	const char *why;
	struct str *pairs;
	size_t n;

	if (plan == NULL)
		return NULL;
	TAILQ_INIT(&plan->groups);
	plan->arena = arena_new(16 * 1024 * 1024);
	plan->config = config_read(master.config_fd, master.config_dir, 0);
	if (plan->arena == NULL || plan->config == NULL) {
		log_warn("no memory for the configuration");
		goto fail;
	}
	if (!report_problems(plan->config, print))
		goto fail;
	if (config_service_values(plan->config, NULL, plan->arena, &pairs,
		&n) < 0 || params_load(&plan->params, pairs, n, plan->arena,
		&why) < 0) {
		log_warn("main.cf: %s", why);
		goto fail;
	}
	socket_unwant_all();
	if (make_groups(plan) < 0)
		goto fail;
	return plan;
fail:
	plan_free(&plan);
	return NULL;
}

/* The sockets below the spool: after spool_prepare() made its directories. */
int plan_bind_public(struct plan *plan)
{
	size_t n;
	const struct master_service *all = config_services(plan->config, &n);

	return plan_sockets(plan, all, n);
}

void plan_free(struct plan **pp)
{
	struct plan *p = *pp;

	if (p == NULL)
		return;
	config_free(&p->config);
	arena_free(&p->arena);
	free(p);
	*pp = NULL;
}
