/* master_cf.c - the lines of master.cf */
#include <netdb.h>
#include <stdlib.h>
#include "config/internal.h"
#include "config/lines.h"

#define FIELDS_MAX 1000

static const char *const type_names[] = {
	[MASTER_INET] = "inet", [MASTER_UNIX] = "unix", [MASTER_FIFO] = "fifo",
	[MASTER_PASS] = "pass", [MASTER_UNIX_DGRAM] = "unix-dgram", NULL,
};

const char *master_type_name(enum master_type type)
{
	return type_names[type];
}

/* Ports that do not need /etc/services, which containers often lack. */
static const struct {
	const char *name;
	unsigned port;
} ports[] = {
	{ "smtp", 25 }, { "smtps", 465 }, { "submissions", 465 },
	{ "submission", 587 }, { "lmtp", 24 }, { "pop3", 110 },
	{ "pop3s", 995 }, { "imap", 143 }, { "imap2", 143 }, { "imaps", 993 },
	{ "sieve", 4190 },
};

static int find_port(struct str text, unsigned *port_r)
{
	struct servent entry, *found = NULL;
	char name[64], buf[2048];
	uint64_t n;

	if (str_to_u64(text, 65535, &n) == 0) {
		*port_r = (unsigned)n;
		return n > 0 ? 0 : -1;
	}
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (str_eq_c(text, ports[i].name)) {
			*port_r = ports[i].port;
			return 0;
		}
	if (str_to_c(text, name, sizeof(name)) < 0 || getservbyname_r(name,
	    "tcp", &entry, buf, sizeof(buf), &found) != 0 || found == NULL)
		return -1;
	*port_r = (unsigned)(((unsigned)found->s_port & 0xff) << 8 |
	    ((unsigned)found->s_port >> 8 & 0xff));
	return 0;
}

/* port, host:port, [address]:port */
static int parse_inet_name(struct config *c, struct master_service *s,
    const char **why)
{
	struct str name = str_of(s->name), host = STR_NONE, port = name;
	ssize_t at;

	if (name.n > 0 && *name.p == '[') {
		if ((at = str_chr(name, ']')) < 0) {
			*why = "a [ is not closed";
			return -1;
		}
		host = str_sub(name, 1, (size_t)at - 1);
		port = str_from(name, (size_t)at + 1);
		if (port.n == 0 || *port.p != ':') {
			*why = "want :port after ]";
			return -1;
		}
		port = str_from(port, 1);
	} else if ((at = str_rchr(name, ':')) >= 0) {
		host = str_sub(name, 0, (size_t)at);
		port = str_from(name, (size_t)at + 1);
		if (str_chr(host, ':') >= 0) {
			*why = "an IPv6 address stands in []";
			return -1;
		}
	}
	if (find_port(port, &s->port) < 0) {
		*why = "no such port or service";
		return -1;
	}
	if (host.n > 0 && (s->host = arena_cstr(c->arena, host)) == NULL)
		c->failed = true;
	return 0;
}

/* y, n, or - for what it is without. */
static int parse_flag(struct str field, bool without, bool *flag_r)
{
	if (str_eq_c(field, "-"))
		*flag_r = without;
	else if (str_eq_c(field, "y") || str_eq_c(field, "n"))
		*flag_r = *field.p == 'y';
	else
		return -1;
	return 0;
}

static int parse_wakeup(struct str field, struct master_service *s)
{
	uint64_t n;

	if (str_eq_c(field, "-"))
		return 0;
	if (str_ends(field, STR("?"))) {
		s->wakeup_if_used = true;
		field.n--;
	}
	if (str_to_u64(field, 1000000000, &n) < 0)
		return -1;
	s->wakeup = (long)n;
	return 0;
}

static int parse_limit(struct str field, struct master_service *s)
{
	uint64_t n;

	s->limit = MASTER_LIMIT_DEFAULT;
	if (str_eq_c(field, "-"))
		return 0;
	if (str_to_u64(field, 1000000, &n) < 0)
		return -1;
	s->limit = (long)n;
	return 0;
}

/* A file name in the programs' directory and nothing else. */
static int parse_command(struct str field)
{
	for (size_t i = 0; i < field.n; i++)
		if (!ascii_is_alpha(field.p[i]) &&
		    !ascii_is_digit(field.p[i]) &&
		    (field.p[i] != '-' || i == 0) && field.p[i] != '_')
			return -1;
	return field.n > 0 ? 0 : -1;
}

/* Reads the seven fields and the command; -1 and why. */
static int parse_fields(struct config *c, struct master_service *s,
    const struct str *f, const char **why)
{
	size_t type = 0;

	while (type_names[type] && !str_eq_c(f[1], type_names[type]))
		type++;
	s->type = (enum master_type)type;
	s->name = arena_cstr(c->arena, f[0]);
	s->command = arena_cstr(c->arena, f[7]);
	if (s->name == NULL || s->command == NULL) {
		*why = "out of memory";
		return -1;
	}
	if (type_names[type] == NULL)
		*why = "bad type: want inet, unix, fifo, pass or unix-dgram";
	else if (parse_flag(f[2], true, &s->is_private) < 0)
		*why = "bad third field (private): want y, n or -";
	else if (parse_flag(f[3], true, &s->is_unpriv) < 0)
		*why = "bad fourth field (unprivileged): want y, n or -";
	else if (parse_flag(f[4], false, &s->is_chroot) < 0)
		*why = "bad fifth field (chroot): want y, n or -";
	else if (parse_wakeup(f[5], s) < 0)
		*why = "bad sixth field (wakeup): want seconds or -";
	else if (parse_limit(f[6], s) < 0)
		*why = "bad seventh field (limit): want a number or -";
	else if (parse_command(f[7]) < 0)
		*why = "bad command path: want the name of a program";
	else if (s->type == MASTER_INET)
		return parse_inet_name(c, s, why);
	else if (str_chr(f[0], '/') >= 0 || *f[0].p == '.')
		*why = "bad name: it must not be a path";
	else
		return 0;
	return -1;
}

static void take_override(struct config *c, struct master_service *s,
    struct str text)
{
	struct master_override *list;
	struct str name, value;
	const char *why;

	if (config_split_pair(text, &name, &value, &why) < 0) {
		config_problem(c, true, "master.cf", s->line,
		    "write -o name=value, or -o { name = value with spaces }",
		    "-o " STR_FMT ": %s", STR_ARG(text), why);
		return;
	}
	list = arena_array(c->arena, s->override_count + 1, sizeof(*list));
	if (list == NULL) {
		c->failed = true;
		return;
	}
	for (size_t i = 0; i < s->override_count; i++)
		list[i] = s->overrides[i];
	list[s->override_count].name = arena_cstr(c->arena, name);
	list[s->override_count].value = arena_cstr(c->arena, value);
	s->overrides = list;
	s->override_count++;
}

static void parse_arguments(struct config *c, struct master_service *s,
    const struct str *f, size_t n)
{
	const char **args = arena_array(c->arena, n + 1, sizeof(*args));
	struct str text;

	if (args == NULL) {
		c->failed = true;
		return;
	}
	s->args = args;
	for (size_t i = 0; i < n; i++) {
		text = f[i];
		if (str_eq_c(text, "-o") && i + 1 < n) {
			text = f[++i];
			if (text.n > 1 && *text.p == '{')
				text = str_trim(str_sub(text, 1, text.n - 2));
			take_override(c, s, text);
		} else if (str_starts(text, STR("-o")) && text.n > 2) {
			take_override(c, s, str_from(text, 2));
		} else if (str_eq_c(text, "-o")) {
			config_problem(c, true, "master.cf", s->line, NULL,
			    "-o without name=value");
		} else if (str_eq_c(text, "-v")) {
			s->verbose++;
		} else if (str_eq_c(text, "-D")) {
			/* A debugger is attached from outside. */
		} else {
			if (text.n > 1 && *text.p == '{')
				text = str_trim(str_sub(text, 1, text.n - 2));
			args[s->arg_count++] = arena_cstr(c->arena, text);
		}
	}
}

/*
 * Words between white space; what begins with { reaches to its }. 1, 0 at
 * the end, -1 when it does not close.
 */
static int next_field(struct str *rest, struct str *field)
{
	size_t n = 0, depth = 0;

	*rest = str_trim(*rest);
	if (rest->n == 0)
		return 0;
	if (*rest->p == '{') {
		do {
			if (rest->p[n] == '{')
				depth++;
			else if (rest->p[n] == '}')
				depth--;
		} while (++n < rest->n && depth > 0);
	} else {
		while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
			n++;
	}
	*field = str_sub(*rest, 0, n);
	*rest = str_from(*rest, n);
	return depth == 0 ? 1 : -1;
}

static struct master_service *add_service(struct config *c,
    const struct master_service *s)
{
	struct master_service *list;

	for (size_t i = 0; i < c->service_count; i++) {
		list = &c->services[i];
		if (list->type == s->type && strcmp(list->name, s->name) == 0) {
			config_problem(c, false, "master.cf", s->line,
			    "remove one of the two",
			    "the service %s %s is in line %u already; this "
			    "line counts", s->name, type_names[s->type],
			    list->line);
			*list = *s;
			return list;
		}
	}
	if (c->service_count == c->service_room) {
		size_t room = c->service_room ? c->service_room * 2 : 64;

		if ((list = arena_array(c->arena, room, sizeof(*list))) == NULL)
			return NULL;
		for (size_t i = 0; i < c->service_count; i++)
			list[i] = c->services[i];
		c->services = list;
		c->service_room = room;
	}
	c->services[c->service_count] = *s;
	return &c->services[c->service_count++];
}

static void take_line(struct config *c, struct str line, unsigned number)
{
	struct str fields[FIELDS_MAX], rest = line;
	struct master_service s = { .line = number }, *kept;
	const char *why = NULL;
	size_t n = 0;
	int ret = 1;

	if (str_has_nul(line)) {
		config_problem(c, true, "master.cf", number, NULL,
		    "a NUL in the configuration");
		return;
	}
	while (n < FIELDS_MAX && (ret = next_field(&rest, &fields[n])) > 0)
		n++;
	if (ret < 0) {
		config_problem(c, true, "master.cf", number, NULL,
		    "a { is not closed: " STR_FMT,
		    STR_ARG(str_sub(fields[n], 0, 60)));
		return;
	}
	if (n < 8) {
		config_problem(c, true, "master.cf", number,
		    "write: name type private unpriv chroot wakeup maxproc "
		    "command", "bad field count: %zu where 8 are wanted", n);
		return;
	}
	if (str_trim(rest).n > 0) {
		config_problem(c, true, "master.cf", number, NULL,
		    "more than %d words", FIELDS_MAX);
		return;
	}
	if (parse_fields(c, &s, fields, &why) < 0) {
		config_problem(c, true, "master.cf", number, NULL,
		    "%s: " STR_FMT " " STR_FMT " ... " STR_FMT, why,
		    STR_ARG(fields[0]), STR_ARG(fields[1]),
		    STR_ARG(fields[7]));
		return;
	}
	if ((kept = add_service(c, &s)) == NULL)
		c->failed = true;
	else
		parse_arguments(c, kept, fields + 8, n - 8);
}

void config_parse_master(struct config *c, struct str text)
{
	struct lines lines;
	struct str line;
	unsigned number;
	int ret;

	c->has_master = true;
	lines_init(&lines, text, CONFIG_LINE_MAX);
	while ((ret = lines_next(&lines, &line, &number)) != 0) {
		if (ret < 0)
			config_problem(c, true, "master.cf", number, NULL,
			    "the line is longer than %d octets",
			    CONFIG_LINE_MAX);
		else
			take_line(c, line, number);
	}
	lines_fini(&lines);
}
