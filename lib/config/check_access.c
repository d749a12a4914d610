/* check_access.c - the lists of restrictions */
#include "config/internal.h"

bool config_is_class(const struct config *c, const struct master_service *s,
    struct str name)
{
	const char *why;
	struct str word, rest = str_of(config_evaluate(c, s,
	    STR("smtpd_restriction_classes"), c->arena, &why));

	while (param_word(&rest, false, &word))
		if (str_eq(word, name))
			return true;
	return false;
}

unsigned config_line_of(const struct config *c, const char *name)
{
	const struct entry *e = config_entry(c, str_of(name));

	return e ? e->line : 0;
}

static const char *const restriction_words[] = {
#define RESTRICTION(name, has_argument, guards) #name,
#include "config/restrictions.def"
#undef RESTRICTION
	NULL
};

static const bool restriction_has_argument[] = {
#define RESTRICTION(name, has_argument, guards) has_argument,
#include "config/restrictions.def"
#undef RESTRICTION
};

static const bool restriction_guards[] = {
#define RESTRICTION(name, has_argument, guards) guards,
#include "config/restrictions.def"
#undef RESTRICTION
};

static ssize_t find_restriction(struct str word)
{
	for (size_t i = 0; restriction_words[i] != NULL; i++)
		if (str_eq_nocase_c(word, restriction_words[i]))
			return (ssize_t)i;
	return -1;
}

/* Postfix's restrictions that are not there and have an argument, which is
 * no restriction either. Prefixes and suffixes. */
static bool takes_argument(struct str word)
{
	return (str_starts_nocase(word, STR("check_")) &&
		!str_eq_nocase_c(word, "check_recipient_maps") &&
		!str_eq_nocase_c(word, "check_relay_domains")) ||
	    str_starts_nocase(word, STR("reject_rbl")) ||
	    str_starts_nocase(word, STR("reject_rhsbl")) ||
	    str_starts_nocase(word, STR("permit_dnswl")) ||
	    str_starts_nocase(word, STR("permit_rhswl")) ||
	    str_eq_nocase_c(word, "sleep");
}

/*
 * Every word must be one that smtpd obeys: one that it does not know would
 * let in what it was meant to refuse. *guarded: something in the list keeps
 * strangers from relaying. quiet: only that is asked.
 */
static void check_restrictions(struct config *c,
    const struct master_service *s, const char *name, const char *text,
    unsigned line, bool quiet, bool *guarded)
{
	const char *file = s ? "master.cf" : "main.cf", *meant;
	struct str rest = str_of(text), word, argument;
	ssize_t i;

	while (param_word(&rest, false, &word)) {
		if ((i = find_restriction(word)) >= 0) {
			if (restriction_has_argument[i] &&
			    !param_word(&rest, false, &word) && !quiet)
				config_problem(c, true, file, line, NULL,
				    "%s: %s wants an argument", name,
				    restriction_words[i]);
			if (restriction_guards[i])
				*guarded = true;
			continue;
		}
		if (config_is_class(c, s, word))
			continue;
		meant = takes_argument(word) ? NULL
			: suggest_word(word, restriction_words);
		if (takes_argument(word))
			param_word(&rest, false, &argument);
		if (quiet)
			continue;
		config_problem(c, true, file, line, meant
		    ? config_printf(c, "did you mean %s?", meant)
		    : "remove it if its refusals are not needed",
		    "%s: the restriction " STR_FMT " is not supported", name,
		    STR_ARG(word));
	}
}

static const char *const restriction_lists[] = {
	"smtpd_client_restrictions", "smtpd_helo_restrictions",
	"smtpd_sender_restrictions", "smtpd_relay_restrictions",
	"smtpd_recipient_restrictions", "smtpd_data_restrictions",
	"smtpd_end_of_data_restrictions", NULL,
};

static void check_guard(struct config *c, const struct master_service *s,
    unsigned line, bool guarded)
{
	if (!guarded)
		config_problem(c, true, s ? "master.cf" : "main.cf", line,
		    "put reject_unauth_destination into "
		    "smtpd_relay_restrictions",
		    "smtpd_relay_restrictions and smtpd_recipient_restrictions "
		    "hold nothing that keeps this from being an open relay");
}

static bool overrides(const struct master_service *s, const char *name)
{
	for (size_t i = 0; i < s->override_count; i++)
		if (strcmp(s->overrides[i].name, name) == 0)
			return true;
	return false;
}

/* What a service has from main.cf was told of there, when its words mean the
 * same to both. */
static bool is_inherited(struct config *c, const struct master_service *s,
    const char *name, const char *text)
{
	const char *why, *main_text;

	if (s == NULL || overrides(s, "smtpd_restriction_classes"))
		return false;
	main_text = config_evaluate(c, NULL, str_of(name), c->arena, &why);
	return main_text != NULL && strcmp(text, main_text) == 0;
}

static bool sets_access(const struct master_service *s)
{
	for (size_t i = 0; restriction_lists[i] != NULL; i++)
		if (overrides(s, restriction_lists[i]))
			return true;
	return overrides(s, "smtpd_restriction_classes");
}

/* The lists of a service (or of main.cf), and the classes they name. */
void config_check_access(struct config *c, const struct master_service *s)
{
	bool guarded = false, unused = false, quiet;
	struct str classes, word;
	const char *why, *text, *name;
	unsigned line;

	if (s != NULL && !sets_access(s))
		return;
	for (size_t i = 0; restriction_lists[i] != NULL; i++) {
		name = restriction_lists[i];
		text = config_evaluate(c, s, str_of(name), c->arena, &why);
		line = s ? s->line : config_line_of(c, name);
		if (text == NULL)
			continue;
		quiet = is_inherited(c, s, name, text);
		check_restrictions(c, s, name, text, line, quiet, i == 3 ||
		    i == 4 ? &guarded : &unused);
	}
	classes = str_of(config_evaluate(c, s, STR("smtpd_restriction_classes"),
	    c->arena, &why));
	while (param_word(&classes, false, &word)) {
		name = arena_cstr(c->arena, word);
		text = config_evaluate(c, s, word, c->arena, &why);
		line = s ? s->line : config_line_of(c, name);
		if (text == NULL)
			config_problem(c, true, s ? "master.cf" : "main.cf",
			    line ? line : config_line_of(c,
				"smtpd_restriction_classes"), NULL,
			    "the restriction class %s has no value", name);
		else
			check_restrictions(c, s, name, text, line,
			    is_inherited(c, s, name, text), &guarded);
	}
	check_guard(c, s, s ? s->line : config_line_of(c,
	    "smtpd_relay_restrictions"), guarded);
}
