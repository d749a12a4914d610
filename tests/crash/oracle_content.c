/*
 * oracle_content.c - what a file with mail in it proves
 *
 * A message has its proof line in its own header; a notification has that of
 * the message it tells of somewhere below, and names the recipients
 * (RFC 3464 2.3).
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "tests/crash/oracle.h"

static const struct str proof_field = { "X-Proof: ", 9 };

/* Takes a line without its end off *rest. False at the end. */
static bool take_line(struct str *rest, struct str *line_r)
{
	ssize_t at = str_chr(*rest, '\n');
	size_t n = at < 0 ? rest->n : (size_t)at;

	if (rest->n == 0)
		return false;
	*line_r = str_sub(*rest, 0, n);
	if (n > 0 && line_r->p[n - 1] == '\r')
		line_r->n--;
	*rest = str_from(*rest, n + (at >= 0));
	return true;
}

/* The SHA-256 and the octets with CR LF line ends. */
static uint64_t digest(struct str s, unsigned char out[SHA256_SIZE])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned n = SHA256_SIZE;
	uint64_t octets = 0;
	bool after_cr = false;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		oracle_stop("no SHA-256");
	while (s.n > 0) {
		ssize_t at = str_chr(s, '\n');
		size_t k = at < 0 ? s.n : (size_t)at;

		EVP_DigestUpdate(md, s.p, k);
		octets += k;
		if (k > 0)
			after_cr = s.p[k - 1] == '\r';
		if (at >= 0) {
			EVP_DigestUpdate(md, &"\r\n"[after_cr],
			    2u - after_cr);
			octets += 2u - after_cr;
		}
		after_cr = false;
		s = str_from(s, k + (at >= 0));
	}
	EVP_DigestFinal_ex(md, out, &n);
	EVP_MD_CTX_free(md);
	return octets;
}

static void add_place(struct wanted *w, const char *what, const char *path)
{
	char *more;

	if (asprintf(&more, "%s%s%s%s", w->places ? w->places : "",
	    w->places ? ", " : "", what, path) < 0)
		oracle_stop("out of memory");
	free(w->places);
	w->places = more;
}

static void judge_copy(struct oracle *o, struct proof *p, struct str from,
    const struct found_in *in)
{
	unsigned char sha[SHA256_SIZE];
	uint64_t octets = digest(from, sha);
	bool good = octets == p->octets && memcmp(sha, p->sha,
	    SHA256_SIZE) == 0;

	if (!good && !(in->may_be_cut && octets < p->octets)) {
		oracle_say(&o->damaged, "DAMAGED", "%s in %s: %llu octets, "
		    "%llu were sent", p->token, in->path,
		    (unsigned long long)octets,
		    (unsigned long long)p->octets);
		return;
	}
	for (size_t i = 0; i < in->count; i++) {
		struct wanted *w = ledger_wanted(o, p, in->rcpts[i]);

		if (w == NULL) {
			oracle_say(&o->duplicated, "DUPLICATE", "%s in %s: "
			    STR_FMT " is none of its recipients", p->token,
			    in->path, STR_ARG(in->rcpts[i]));
			continue;
		}
		if (good)
			w->good++;
		else
			w->cut++;
		add_place(w, good ? "" : "(cut) ", in->path);
	}
}

/* --- notifications ---------------------------------------------------- */

struct report {
	/* of the recipient being told of */
	struct str final, original;
	bool failed;
	struct str *failures;	/* recipients that failed */
	size_t failure_count, group_count;
};

/* "rfc822; a@b" */
static struct str typed_value(struct str field)
{
	ssize_t at = str_chr(field, ';');

	return str_trim(str_from(field, at < 0 ? field.n : (size_t)at + 1));
}

static void add_failure(struct report *r, struct str address)
{
	if (address.n == 0)
		return;
	r->failures = oracle_grow(r->failures, r->failure_count,
	    sizeof(*r->failures));
	r->failures[r->failure_count++] = address;
}

static void end_group(struct report *r)
{
	if (r->final.n > 0)
		r->group_count++;
	if (r->failed) {
		add_failure(r, r->final);
		add_failure(r, r->original);
	}
	r->final = r->original = STR_NONE;
	r->failed = false;
}

static void take_field(struct report *r, struct str line)
{
	if (line.n == 0)
		end_group(r);
	else if (str_starts_nocase(line, STR("Final-Recipient:")))
		r->final = typed_value(line);
	else if (str_starts_nocase(line, STR("Original-Recipient:")))
		r->original = typed_value(line);
	else if (str_starts_nocase(line, STR("Action:")))
		r->failed = str_eq_nocase_c(str_trim(str_from(line, 7)),
		    "failed");
}

/* One notice counts once for a recipient, however often it names it. */
static bool tells_of(const struct oracle *o, struct proof *p,
    const struct wanted *w, const struct report *r)
{
	if (r->group_count == 0) /* it speaks to people only: of all */
		return true;
	for (size_t i = 0; i < r->failure_count; i++)
		if (ledger_wanted(o, p, r->failures[i]) == w)
			return true;
	return false;
}

static void judge_notice(struct oracle *o, struct str body,
    const struct found_in *in)
{
	struct report r = { 0 };
	struct str rest = body, line;

	while (take_line(&rest, &line))
		take_field(&r, line);
	end_group(&r);
	rest = body;
	while (take_line(&rest, &line)) {
		struct proof *p;

		if (!str_starts(line, proof_field))
			continue;
		p = map_find(o->tokens, str_from(line, proof_field.n));
		for (size_t i = 0; p != NULL && i < p->wanted_count; i++)
			if (tells_of(o, p, &p->wanted[i], &r)) {
				p->wanted[i].notices++;
				add_place(&p->wanted[i], "notice ",
				    in->path);
			}
	}
	free(r.failures);
}

void content_judge(struct oracle *o, struct str message,
    const struct found_in *in)
{
	struct str rest = message, at = rest, line;
	bool has_end = false;

	while (take_line(&rest, &line)) {
		struct proof *p;

		if (line.n == 0) {
			has_end = true;
			break;
		}
		if (!str_starts(line, proof_field)) {
			at = rest;
			continue;
		}
		p = map_find(o->tokens, str_from(line, proof_field.n));
		if (p != NULL)
			judge_copy(o, p, at, in);
		else if (!in->may_be_cut)
			oracle_say(&o->damaged, "DAMAGED", "%s: " STR_FMT
			    " was never sent", in->path, STR_ARG(line));
		return;
	}
	if (has_end)
		judge_notice(o, rest, in);
	else if (!in->may_be_cut)
		oracle_say(&o->damaged, "DAMAGED", "%s: ends in its header",
		    in->path);
}
