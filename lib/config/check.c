/* check.c - mistakes that can be told from the files alone */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include "config/commands.h"
#include "config/internal.h"

/*
 * Old names: when the parameter that took their place is not set, it gets
 * what they meant. `value` NULL: the old one's value.
 */
static const struct {
	const char *name, *when, *successor, *value;
} moves[] = {
	{ "smtpd_enforce_tls", "yes", "smtpd_tls_security_level", "encrypt" },
	{ "smtpd_use_tls", "yes", "smtpd_tls_security_level", "may" },
	{ "smtp_enforce_tls", "yes", "smtp_tls_security_level", "encrypt" },
	{ "smtp_use_tls", "yes", "smtp_tls_security_level", "may" },
	{ "virtual_maps", NULL, "virtual_alias_maps", NULL },
	{ "fallback_relay", NULL, "smtp_fallback_relay", NULL },
	{ "2bounce_notice_recipient", NULL, "bounce_notice_recipient", NULL },
	{ "smtpd_client_connection_limit_exceptions", NULL,
	  "smtpd_client_event_limit_exceptions", NULL },
	{ "virtual_minimum_uid", NULL, "minimum_uid", NULL },
};

static void apply_moves(struct config *c)
{
	struct entry *e;

	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		e = config_entry(c, str_of(moves[i].name));
		if (e == NULL || config_entry(c, str_of(moves[i].successor)) ||
		    (moves[i].when && !str_eq_nocase_c(e->value,
			moves[i].when)))
			continue;
		if (config_add(c, str_of(moves[i].successor), moves[i].value
			? str_of(moves[i].value) : e->value, e->line) == NULL)
			c->failed = true;
	}
}

static bool is_name(char ch)
{
	return ascii_is_alpha(ch) || ascii_is_digit(ch) || ch == '_';
}

static bool is_defined(const struct config *c,
    const struct master_service *s, struct str name)
{
	static const char *const fixed[] = { "stress", "service_name",
		"process_name", "process_id" };

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (str_eq_c(name, fixed[i]))
			return true;
	for (size_t i = 0; s && i < s->override_count; i++)
		if (str_eq_c(name, s->overrides[i].name))
			return true;
	return config_entry(c, name) || param_find(name) || known_find(name);
}

/* Marks what a text's $names mean, and warns of those that mean nothing. */
static void scan_references(struct config *c, const struct master_service *s,
    const char *owner, struct str text, unsigned line)
{
	const char *file = s ? "master.cf" : "main.cf", *close;
	struct entry *e;
	struct str name;
	size_t i, start;
	bool group;

	for (i = 0; i + 1 < text.n; i++) {
		if (text.p[i] != '$')
			continue;
		if (text.p[++i] == '$')
			continue;
		group = text.p[i] == '{' || text.p[i] == '(';
		start = group ? i + 1 : i;
		for (i = start; i < text.n && is_name(text.p[i]); i++)
			;
		name = str_sub(text, start, i - start);
		if (name.n > 0 && (e = config_entry(c, name)) != NULL)
			e->referred = true;
		/* ${name?...} asks whether it is there. */
		close = group ? "})" : NULL;
		if (name.n > 0 && !is_defined(c, s, name) &&
		    (!group || (i < text.n && strchr(close, text.p[i])))) {
			const char *meant = suggest_parameter(name);

			config_problem(c, false, file, line, meant
			    ? config_printf(c, "did you mean $%s?", meant)
			    : NULL, "%s: $" STR_FMT " is not defined and "
			    "counts as empty", owner, STR_ARG(name));
		}
		i--;
	}
}

/* Whether every word of the value asks for nothing. */
static bool is_off(const struct known *k, struct str value)
{
	struct str word, rest, off;
	bool found;

	if (strcmp(k->off, "*") == 0)
		return false;
	while (param_word(&value, true, &word)) {
		rest = str_of(k->off);
		found = false;
		while (!found && str_split(&rest, '|', &off))
			found = str_eq(word, off) || (off.n > 1 &&
			    off.p[off.n - 1] == '*' &&
			    str_starts(word, str_sub(off, 0, off.n - 1)));
		if (!found)
			return false;
	}
	return true;
}

static void report_known(struct config *c, const struct master_service *s,
    struct str name, struct str raw, unsigned line)
{
	const struct known *k = known_find(name);
	const char *value, *why, *file = s ? "master.cf" : "main.cf";

	value = config_evaluate_text(c, s, raw, c->arena, &why);
	if (value == NULL || *value == '\0' || is_off(k, raw) ||
	    is_off(k, str_of(value)))
		return;
	if (k->kind == KNOWN_MOVED)
		config_problem(c, false, file, line, k->remedy,
		    STR_FMT " is an old name", STR_ARG(name));
	else
		config_problem(c, k->kind == KNOWN_POLICY, file, line,
		    k->remedy, STR_FMT " is not supported%s", STR_ARG(name),
		    k->kind == KNOWN_POLICY ? "" : " and has no effect");
}

static void report_unknown(struct config *c, const char *file, struct str name,
    unsigned line)
{
	const char *meant = suggest_parameter(name);

	config_problem(c, false, file, line, meant
	    ? config_printf(c, "did you mean %s?", meant)
	    : "no $name refers to it; remove it",
	    "unknown parameter " STR_FMT, STR_ARG(name));
}

static void check_networks(struct config *, const struct master_service *,
    const char *name, const char *text, unsigned line);

/*
 * Parses as the program will; the text into *params when it is good. quiet:
 * what is wrong with it was told of where it comes from.
 */
static void check_value(struct config *c, const struct master_service *s,
    const struct param *p, const char *text, const char *why, unsigned line,
    bool quiet, struct params *params)
{
	const char *file = s ? "master.cf" : "main.cf";

	if (text == NULL) {
		if (quiet)
			return;
		config_problem(c, true, file, line, NULL, "%s: %s", p->name,
		    why ? why : "cannot be evaluated");
		return;
	}
	if (param_set(p, params, str_of(text), c->arena, &why) == 0) {
		/* $mynetworks in the others was told of there. */
		if (config_is_network_list(str_of(p->name)) &&
		    (line > 0 || strcmp(p->name, "mynetworks") == 0))
			check_networks(c, s, p->name, text, line);
		return;
	}
	if (quiet)
		return;
	config_problem(c, true, file, line, NULL, "%s = %.60s%s: %s", p->name,
	    text, strlen(text) > 60 ? "..." : "", why);
}

static void check_row(struct config *c, const struct param *p, bool quiet,
    struct params *params)
{
	struct entry *e = config_entry(c, str_of(p->name));
	const char *why, *text = config_evaluate(c, NULL, str_of(p->name),
	    c->arena, &why);

	if (text != NULL && *text == '\0' && e != NULL && e->value.n > 0 &&
	    *e->value.p == '/' && strcmp(p->name, "myorigin") == 0)
		config_problem(c, true, "main.cf", e->line,
		    "write the mail domain into its first line",
		    "myorigin: cannot read a domain from " STR_FMT,
		    STR_ARG(e->value));
	else
		check_value(c, NULL, p, text, why, e ? e->line : 0, quiet,
		    params);
	if (text == NULL)
		return;
	if (e != NULL)
		e->evaluated = text;
	else if (map_set(c->defaults, str_of(p->name),
	    (void *)(uintptr_t)text, NULL) < 0)
		c->failed = true;
}

bool config_is_known(const struct config *c, const char *text)
{
	struct str name = str_of(text), transport;
	const struct entry *e = config_entry(c, name);
	const char *suffix;

	return param_find(name) != NULL || known_find(name) != NULL ||
	    (e != NULL && e->referred) || config_is_class(c, NULL, name) ||
	    known_is_transport_parameter(name, &transport, &suffix);
}

static void check_entry(struct config *c, struct entry *e)
{
	struct str name = str_of(e->name);
	const char *why;

	if (param_find(name) != NULL)
		return;
	e->evaluated = config_evaluate(c, NULL, name, c->arena, &why);
	if (e->evaluated == NULL)
		config_problem(c, true, "main.cf", e->line, NULL, "%s: %s",
		    e->name, why ? why : "cannot be evaluated");
	else if (known_find(name) != NULL)
		report_known(c, NULL, name, e->value, e->line);
	else if (!config_is_known(c, e->name))
		report_unknown(c, "main.cf", name, e->line);
}

/* address or address/bits, with [] round IPv6. -1 and why. */
static int check_network(struct str word, bool *is_all, const char **why)
{
	uint8_t address[16];
	struct str host = word, bits_text = STR_NONE;
	ssize_t slash;
	uint64_t bits = 0;
	char text[64];
	size_t n;
	bool is6 = str_chr(word, ':') >= 0;

	/* "[::1/128]" is written too. */
	if (host.n > 1 && *host.p == '[' && host.p[host.n - 1] == ']' &&
	    str_chr(host, '/') >= 0)
		host = str_sub(host, 1, host.n - 2);
	if ((slash = str_rchr(host, '/')) >= 0) {
		bits_text = str_from(host, (size_t)slash + 1);
		host = str_sub(host, 0, (size_t)slash);
	}
	if (host.n > 1 && *host.p == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 2);
	if (str_to_c(host, text, sizeof(text)) < 0 ||
	    inet_pton(is6 ? AF_INET6 : AF_INET, text, address) != 1) {
		*why = "want address, address/bits or /file";
		return -1;
	}
	n = is6 ? 16 : 4;
	bits = n * 8;
	if (slash >= 0 && str_to_u64(bits_text, n * 8, &bits) < 0) {
		*why = "bad number of bits";
		return -1;
	}
	for (size_t i = 0; i < n * 8; i++)
		if (i >= bits && (address[i / 8] & (0x80 >> i % 8))) {
			*why = "host bits set behind the network's";
			return -1;
		}
	*is_all = bits == 0;
	return 0;
}

/* A word of a list that is neither a table nor a file. */
static bool is_plain(struct str word)
{
	return word.n > 0 && *word.p != '/' && !(str_chr(word, ':') > 0 &&
	    *word.p != '[' && str_chr(word, '[') < 0 &&
	    ascii_is_alpha(*word.p) && str_chr(word, '/') >= 0);
}

/* The words of a list of networks; `text` is evaluated. */
static void check_networks(struct config *c, const struct master_service *s,
    const char *name, const char *text, unsigned line)
{
	const char *why, *file = s ? "master.cf" : "main.cf";
	struct str rest = str_of(text), word, plain;
	bool is_all, trusts = strcmp(name, "mynetworks") == 0;

	while (param_word(&rest, true, &word)) {
		plain = word;
		is_all = false;
		while (plain.n > 0 && *plain.p == '!')
			plain = str_from(plain, 1);
		if (!is_plain(plain))
			config_problem(c, true, file, line,
			    "write the networks, or the name of a /file of "
			    "them", "%s: " STR_FMT ": tables are not supported "
			    "here", name, STR_ARG(word));
		else if (check_network(plain, &is_all, &why) < 0)
			config_problem(c, true, file, line, NULL,
			    "%s: " STR_FMT ": %s", name, STR_ARG(word), why);
		else if (is_all && trusts && *word.p != '!')
			config_problem(c, false, file, line,
			    "list the networks of your own hosts",
			    "mynetworks: " STR_FMT " makes this an open relay",
			    STR_ARG(word));
	}
}

/* What lib/table has; its test compares the two. */
static const char *const table_types[] = { "hash", "btree", "texthash",
	"inline", "static", "fail", "unix", "cidr", "regexp", "pcre", NULL };

/* What other systems have, and what to do instead. */
static const char *const foreign_types[] = { "mysql", "pgsql", "ldap",
	"sqlite", "mongodb", "lmdb", "cdb", "dbm", "sdbm", "tcp", "socketmap",
	"memcache", "nis", "nisplus", "netinfo", "unionmap", "pipemap",
	"randmap", "environ", NULL };

static bool has_word(const char *const *words, struct str word)
{
	for (; *words != NULL; words++)
		if (str_eq_c(word, *words))
			return true;
	return false;
}

bool config_is_table_type(struct str type)
{
	return has_word(table_types, type);
}

/* A word that names a table: its type has to be there. */
static void check_type(struct config *c, const char *param, struct str word)
{
	ssize_t colon;
	struct str type;
	const char *meant;

	while (str_starts(word, STR("proxy:")))
		word = str_from(word, 6);
	if (word.n == 0 || *word.p == '/' || (colon = str_chr(word, ':')) < 0)
		return;
	type = str_sub(word, 0, (size_t)colon);
	if (config_is_table_type(type))
		return;
	meant = suggest_word(type, table_types);
	config_problem(c, true, "main.cf", config_line_of(c, param),
	    has_word(foreign_types, type) ? "write the table out into a file "
	    "for postmap, or texthash:" : meant
	    ? config_printf(c, "did you mean %s:?", meant) : NULL,
	    "%s: " STR_FMT ": the table type " STR_FMT " is not there", param,
	    STR_ARG(str_sub(word, 0, 60)), STR_ARG(type));
}

static void check_types(struct config *c)
{
	static const char *const tables[] = { "alias_maps", "alias_database",
		"virtual_alias_maps", "virtual_mailbox_maps",
		"local_recipient_maps", "relay_recipient_maps",
		"transport_maps" };
	static const char *const lists[] = { "mydestination", "relay_domains",
		"virtual_mailbox_domains", "virtual_alias_domains" };
	struct str rest, word;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		rest = str_of(config_value(c, tables[i]));
		while (param_word(&rest, true, &word))
			if (config_line_of(c, tables[i]) > 0)
				check_type(c, tables[i], word);
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		rest = str_of(config_value(c, lists[i]));
		while (param_word(&rest, true, &word)) {
			while (word.n > 0 && *word.p == '!')
				word = str_from(word, 1);
			if (config_line_of(c, lists[i]) > 0 && word.n > 0 &&
			    *word.p != '[')
				check_type(c, lists[i], word);
		}
	}
}

/* Whether it has a value that its program takes: else it was told of. */
static bool is_good(struct config *c, const char *name)
{
	const char *why, *value = config_value(c, name);
	struct params params = { 0 };

	return value != NULL && param_set(param_find(str_of(name)), &params,
	    str_of(value), c->arena, &why) == 0;
}

static void check_hostname(struct config *c, const char *name,
    const char *value)
{
	struct str rest = str_of(value), label;
	bool bad = rest.n == 0;

	while (!bad && str_split(&rest, '.', &label)) {
		bad = label.n == 0 || label.n > 63 || *label.p == '-';
		for (size_t i = 0; i < label.n && !bad; i++)
			bad = !is_name(label.p[i]) && label.p[i] != '-' &&
			    (unsigned char)label.p[i] < 128;
	}
	if (bad && is_good(c, name))
		config_problem(c, true, "main.cf", config_line_of(c, name),
		    "write a host name such as mail.example.org",
		    "%s: \"%.80s\" is no host name", name, value);
}

/* A pair of domains lists must not share a domain: the class is not clear. */
static void check_classes(struct config *c, const char *a, const char *b)
{
	struct str x, y, left = str_of(config_value(c, a)), right;

	while (param_word(&left, true, &x)) {
		right = str_of(config_value(c, b));
		while (is_plain(x) && param_word(&right, true, &y))
			if (str_eq_nocase(x, y))
				config_problem(c, false, "main.cf",
				    config_line_of(c, b), "list it once",
				    "do not list the domain " STR_FMT
				    " in both %s and %s", STR_ARG(x), a, b);
	}
}

static void check_order(struct config *c, const char *small, int64_t a,
    const char *large, int64_t b)
{
	if (a > b && is_good(c, small) && is_good(c, large))
		config_problem(c, true, "main.cf", config_line_of(c, small)
		    ? config_line_of(c, small) : config_line_of(c, large), NULL,
		    "%s (%lld) must not be above %s (%lld)", small,
		    (long long)a, large, (long long)b);
}

/* A message that is taken and fits into no mailbox file comes back. */
static void check_mailbox_limit(struct config *c, const char *name,
    int64_t limit, int64_t message)
{
	if (limit > 0 && (message == 0 || message > limit) &&
	    is_good(c, "message_size_limit"))
		config_problem(c, false, "main.cf", config_line_of(c, name)
		    ? config_line_of(c, name)
		    : config_line_of(c, "message_size_limit"),
		    "raise it, or set it to 0 for no limit", "%s (%lld) is "
		    "below message_size_limit: a large message is taken and "
		    "comes back", name, (long long)limit);
}

static void check_together(struct config *c, const struct params *p)
{
	struct str names = str_of(p->myorigin);

	check_hostname(c, "myhostname", p->myhostname);
	check_hostname(c, "mydomain", p->mydomain);
	if (names.n > 0)
		check_hostname(c, "myorigin", p->myorigin);
	check_types(c);
	check_order(c, "minimal_backoff_time", p->minimal_backoff_time,
	    "maximal_backoff_time", p->maximal_backoff_time);
	check_mailbox_limit(c, "mailbox_size_limit", p->mailbox_size_limit,
	    p->message_size_limit);
	check_mailbox_limit(c, "virtual_mailbox_limit",
	    p->virtual_mailbox_limit, p->message_size_limit);
	check_classes(c, "mydestination", "virtual_mailbox_domains");
	check_classes(c, "mydestination", "virtual_alias_domains");
	check_classes(c, "mydestination", "relay_domains");
	check_classes(c, "virtual_mailbox_domains", "virtual_alias_domains");
}

void config_check_main(struct config *c)
{
	size_t before = c->error_count;
	struct params params = { 0 };
	const struct param *p;
	struct entry *e;

	apply_moves(c);
	for (size_t i = 0; i < c->count; i++) {
		p = param_find(str_of(c->order[i]->name));
		if (p == NULL || p->kind != PARAM_RAW)
			scan_references(c, NULL, c->order[i]->name,
			    c->order[i]->value, c->order[i]->line);
	}
	for (size_t i = 0; i < c->service_count; i++)
		for (size_t k = 0; k < c->services[i].override_count; k++)
			scan_references(c, &c->services[i],
			    c->services[i].overrides[k].name,
			    str_of(c->services[i].overrides[k].value),
			    c->services[i].line);
	for (p = params_table; p->name != NULL; p++)
		if (config_entry(c, str_of(p->name)) != NULL)
			check_row(c, p, false, &params);
	/* A default that is wrong because of what was told just now. */
	for (p = params_table; p->name != NULL; p++)
		if (config_entry(c, str_of(p->name)) == NULL)
			check_row(c, p, c->error_count > before, &params);
	for (size_t i = 0; i < c->count; i++)
		check_entry(c, c->order[i]);
	e = config_entry(c, STR("config_directory"));
	if (e != NULL)
		config_problem(c, false, "main.cf", e->line, "remove it",
		    "config_directory cannot be set");
	check_together(c, &params);
	config_check_access(c, NULL);
}

static void check_override(struct config *c, const struct master_service *s,
    const struct master_override *o, struct params *params)
{
	struct str name = str_of(o->name), transport;
	const struct param *p = param_find(name);
	const char *why, *suffix, *text;
	struct entry *e;

	if (p != NULL) {
		text = config_evaluate(c, s, name, c->arena, &why);
		check_value(c, s, p, text, why, s->line, false, params);
		return;
	}
	if (known_find(name) != NULL) {
		report_known(c, s, name, str_of(o->value), s->line);
		return;
	}
	e = config_entry(c, name);
	if ((e == NULL || !e->referred) && !config_is_class(c, s, name) &&
	    !known_is_transport_parameter(name, &transport, &suffix))
		report_unknown(c, "master.cf", name, s->line);
}

void config_check_services(struct config *c)
{
	struct params params = { 0 };
	const struct master_command *command;
	const char *meant;

	for (size_t i = 0; i < c->service_count; i++) {
		const struct master_service *s = &c->services[i];

		for (size_t k = 0; k < s->override_count; k++)
			check_override(c, s, &s->overrides[k], &params);
		config_check_access(c, s);
		command = command_find(str_of(s->command));
		if (command == NULL) {
			meant = suggest_word(str_of(s->command),
			    command_names());
			config_problem(c, true, "master.cf", s->line, meant
			    ? config_printf(c, "did you mean %s?", meant)
			    : NULL, "there is no program %s", s->command);
		} else if (command->absence != COMMAND_NEEDLESS) {
			config_problem(c, command->absence == COMMAND_REFUSED,
			    "master.cf", s->line, command->remedy,
			    "the program %s is not supported", s->command);
		}
	}
}
