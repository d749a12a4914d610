/* oracle_ledger.c - the ledger: one line an event, strictly read */
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "tests/crash/oracle.h"

#define WORDS_MAX 5

struct line {
	struct oracle *oracle;
	const char *path;
	unsigned long number;
	bool late;		/* behind the mark: nothing is a promise */
	struct str words[WORDS_MAX];
	size_t count;
};

__attribute__((noreturn))
static void bad(const struct line *l, const char *why)
{
	oracle_stop("%s:%lu: %s", l->path, l->number, why);
}

static char *copy_of(struct str s)
{
	char *p = malloc(s.n + 1);

	if (p == NULL)
		oracle_stop("out of memory");
	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void take_sha(const struct line *l, struct str s, unsigned char *out)
{
	if (s.n != 2 * SHA256_SIZE)
		bad(l, "no SHA-256");
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		int high = hex(s.p[2 * i]), low = hex(s.p[2 * i + 1]);

		if (high < 0 || low < 0)
			bad(l, "no SHA-256");
		out[i] = (unsigned char)(high << 4 | low);
	}
}

static struct proof *proof_of(const struct line *l)
{
	struct proof *p = map_find(l->oracle->tokens, l->words[1]);

	if (p == NULL)
		bad(l, "a token that was not sent");
	return p;
}

static struct wanted *wanted_of(const struct line *l, struct proof *p)
{
	for (size_t i = 0; i < p->wanted_count; i++)
		if (str_eq_nocase(p->wanted[i].address, l->words[2]))
			return &p->wanted[i];
	bad(l, "it was not sent to that recipient");
}

static struct proof *new_proof(const struct line *l)
{
	struct proof *p = calloc(1, sizeof(*p));
	struct oracle *o = l->oracle;
	struct str rcpts = l->words[4], rcpt, token = l->words[1];

	if (p == NULL || token.n > TOKEN_MAX ||
	    map_set(o->tokens, token, p, NULL) < 0)
		bad(l, "a token that is too long, or no memory");
	memcpy(p->token, token.p, token.n);
	while (str_split(&rcpts, ',', &rcpt)) {
		p->wanted = oracle_grow(p->wanted, p->wanted_count,
		    sizeof(*p->wanted));
		p->wanted[p->wanted_count++] = (struct wanted){
			.address = { copy_of(rcpt), rcpt.n } };
	}
	p->deaths_before = o->deaths;
	o->proofs = oracle_grow(o->proofs, o->proof_count,
	    sizeof(*o->proofs));
	o->proofs[o->proof_count++] = p;
	return p;
}

static void on_sent(struct line *l)
{
	struct proof *p = map_find(l->oracle->tokens, l->words[1]);
	unsigned char sha[SHA256_SIZE];
	uint64_t octets;

	take_sha(l, l->words[2], sha);
	if (str_to_u64(l->words[3], INT64_MAX, &octets) < 0)
		bad(l, "no number of octets");
	if (p == NULL) {
		p = new_proof(l);
		memcpy(p->sha, sha, sizeof(sha));
		p->octets = octets;
	} else if (p->octets != octets || memcmp(p->sha, sha, sizeof(sha))) {
		bad(l, "other octets under a token that was sent");
	}
	p->sent++;
}

static void on_acked(struct line *l)
{
	struct proof *p = proof_of(l);

	if (l->late)
		return;
	if (l->count > 2) {
		wanted_of(l, p)->acked = true;
		return;
	}
	for (size_t i = 0; i < p->wanted_count; i++)
		p->wanted[i].acked = true;
}

static void on_refused(struct line *l)
{
	struct proof *p = proof_of(l);

	if (l->late)
		return;
	p->refused++;
	snprintf(p->code, sizeof(p->code), "%.*s", STR_ARG(l->words[2]));
}

/* What is asked for behind the mark has had no effect before it: its client
 * writes a mark in between. */
static void on_taking(struct line *l)
{
	wanted_of(l, proof_of(l))->taking += !l->late;
}

static void on_taken(struct line *l)
{
	struct wanted *w = wanted_of(l, proof_of(l));

	if (l->late)
		return;
	w->taken++;
	if (w->taking > 0)
		w->taking--;
}

static void on_copying(struct line *l)
{
	wanted_of(l, proof_of(l))->copying += !l->late;
}

static void on_copied(struct line *l)
{
	struct wanted *w = wanted_of(l, proof_of(l));

	if (l->late)
		return;
	w->copied++;
	if (w->copying > 0)
		w->copying--;
}

/* One more and one less. A removal that was asked for before, and of which
 * nothing was heard, stays open: this was not it. */
static void on_moved(struct line *l)
{
	struct wanted *w = wanted_of(l, proof_of(l));

	if (!l->late && w->copying > 0)
		w->copying--;
}

static void on_alias(struct line *l)
{
	struct str *rcpt = malloc(sizeof(*rcpt));

	if (rcpt == NULL)
		oracle_stop("out of memory");
	*rcpt = str_n(copy_of(l->words[1]), l->words[1].n);
	if (map_set(l->oracle->aliases, l->words[2], rcpt, NULL) < 0)
		oracle_stop("out of memory");
}

static void on_killed(struct line *l)
{
	struct oracle *o = l->oracle;
	uint64_t pid;

	if (str_to_u64(l->words[2], INT32_MAX, &pid) < 0)
		bad(l, "no process id");
	o->killed = oracle_grow(o->killed, o->killed_count,
	    sizeof(*o->killed));
	o->killed[o->killed_count++].pid = (long)pid;
	if (l->late)
		return;
	o->died = true;
	o->deaths += str_eq_c(l->words[0], "killed");
}

static void on_powercut(struct line *l)
{
	if (l->late)
		return;
	l->oracle->deaths++;
	l->oracle->died = true;
}

static void on_fault(struct line *l)
{
	if (!l->late)
		l->oracle->deaths++;
}

static const struct verb {
	const char *name;
	size_t least, most;	/* words, with the verb */
	void (*run)(struct line *);
} verbs[] = {
	{ "sent", 5, 5, on_sent },
	{ "acked", 2, 3, on_acked },
	{ "refused", 3, 3, on_refused },
	{ "taking", 3, 3, on_taking },
	{ "taken", 3, 3, on_taken },
	{ "copying", 3, 3, on_copying },
	{ "copied", 3, 3, on_copied },
	{ "moved", 3, 3, on_moved },
	{ "alias", 3, 3, on_alias },
	{ "killed", 3, 3, on_killed },
	{ "ended", 3, 3, on_killed },
	{ "powercut", 1, WORDS_MAX, on_powercut },
	{ "fault", 1, WORDS_MAX, on_fault },
};

static void take_line(struct line *l, struct str text)
{
	struct str rest = text, word;

	l->count = 0;
	while (str_split(&rest, ' ', &word)) {
		if (l->count < WORDS_MAX)
			l->words[l->count] = word;
		else if (!str_starts(text, STR("fault ")))
			bad(l, "too many words");
		l->count += l->count < WORDS_MAX;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!str_eq_c(l->words[0], verbs[i].name))
			continue;
		if (l->count < verbs[i].least || l->count > verbs[i].most)
			bad(l, "that verb has another number of words");
		verbs[i].run(l);
		return;
	}
	bad(l, "a verb that is not known");
}

/* The number of a `mark` line, or -1 for another line. */
static long mark_of(const struct line *l, struct str text)
{
	uint64_t n;

	if (!str_starts(text, STR("mark ")))
		return -1;
	if (str_to_u64(str_from(text, 5), INT32_MAX, &n) < 0)
		bad(l, "no number of a mark");
	return (long)n;
}

void ledger_read(struct oracle *o, const char *path, long until)
{
	struct line l = { .oracle = o, .path = path };
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	if (f == NULL)
		oracle_stop("%s: cannot be opened", path);
	/* A last line without its end: the writer died, nothing was said. */
	while ((n = getline(&text, &room, f)) > 0 && text[n - 1] == '\n') {
		struct str s = str_n(text, (size_t)n - 1);
		long mark;

		l.number++;
		mark = mark_of(&l, s);
		if (mark >= 0)
			l.late |= mark == until;
		else
			take_line(&l, s);
	}
	if (until >= 0) { /* the power went there, or a moment later */
		o->deaths++;
		o->died = true;
	}
	free(text);
	fclose(f);
	if (until >= 0 && !l.late)
		oracle_stop("%s: has no mark %ld", path, until);
}

struct wanted *ledger_wanted(const struct oracle *o, struct proof *p,
    struct str address)
{
	const struct str *rcpt = map_find(o->aliases, address);

	for (size_t i = 0; i < p->wanted_count; i++) {
		struct str has = p->wanted[i].address;

		if (str_eq_nocase(has, address) ||
		    (rcpt != NULL && str_eq_nocase(has, *rcpt)))
			return &p->wanted[i];
	}
	return NULL;
}
