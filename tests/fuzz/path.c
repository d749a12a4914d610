/*
 * path.c - SMTP paths, ESMTP parameters, xtext (RFC 5321 4.1.2, RFC 3461)
 *
 * "<path> KEY=VALUE..." and option octets at the end. A path that is
 * accepted is printed and parsed again: the same, so that what one program
 * takes for one recipient is never two for the next.
 */
#include "fuzz.h"
#include "mail/idn.h"
#include "mail/path.h"
#include "smtpd/esmtp.h"

static void check_path(const struct mail_path *path, unsigned options,
    struct arena *arena)
{
	const unsigned again_options = MAIL_PATH_ANY_LOCAL | MAIL_PATH_LONG |
	    (options & (MAIL_PATH_SMTPUTF8 | MAIL_PATH_SENDER));
	struct mail_refusal why;
	struct mail_path again;
	struct str rest, local, domain;
	struct buf out;

	fuzz_check(!str_has_ctl(path->local) && !str_has_ctl(path->domain),
	    "a control octet in an address");
	fuzz_check(path->local.p[path->local.n] == '\0', "no NUL behind");
	fuzz_check(str_is_utf8(path->local) && str_is_utf8(path->domain),
	    "not UTF-8");
	fuzz_check((options & MAIL_PATH_SMTPUTF8) ||
	    (str_is_ascii(path->local) && str_is_ascii(path->domain)),
	    "UTF-8 that was not announced");
	fuzz_check(path->local.n <= (options & MAIL_PATH_LONG ?
	    MAIL_LOCAL_LONG_MAX : MAIL_LOCAL_MAX) &&
	    path->domain.n <= MAIL_DOMAIN_MAX, "over the limits");
	fuzz_check(str_chr(path->domain, '@') == -1, "\"@\" in a domain");
	if (path->domain.n > 0 && !(path->flags & MAIL_PATH_LITERAL))
		fuzz_check(mail_domain_is_valid(path->domain,
		    options & MAIL_PATH_SMTPUTF8), "an invalid domain");
	buf_init(&out, 4096);
	fuzz_check(mail_path_append_angle(&out, path->local, path->domain) ==
	    0, "print");
	rest = buf_str(&out);
	fuzz_check(mail_path_parse(&rest, again_options, arena, &again, &why)
	    == 0, "not read again: %s: %s", buf_cstr(&out), why.text);
	fuzz_check(rest.n == 0, "something left of %s", buf_cstr(&out));
	fuzz_check_same("local", path->local, again.local);
	fuzz_check_same("domain", path->domain, again.domain);
	fuzz_check(memcmp(path->literal, again.literal, 16) == 0, "literal");
	/* As one string with no quoting added, split at its last "@". */
	if (path->domain.n > 0) {
		buf_reset(&out);
		buf_append(&out, path->local);
		buf_append_char(&out, '@');
		buf_append(&out, path->domain);
		mail_path_split(buf_str(&out), &local, &domain);
		fuzz_check_same("split local", local, path->local);
		fuzz_check_same("split domain", domain, path->domain);
	}
	buf_reset(&out);
	if (mail_domain_to_ascii(path->domain, &out) == 0)
		fuzz_check(str_is_ascii(buf_str(&out)), "A-labels");
	buf_fini(&out);
}

static void check_params(struct str text, bool utf8, struct arena *arena)
{
	struct mail_params params, again;
	struct mail_refusal why = { 0 };
	struct esmtp_mail m;
	struct esmtp_rcpt r;
	struct buf out;

	if (mail_params_parse(text, utf8, &params, &why) == -1) {
		fuzz_check(why.code >= 400 && why.text != NULL, "no reply");
		return;
	}
	buf_init(&out, SIZE_MAX);
	for (unsigned i = 0; i < params.count; i++) {
		const struct mail_param *p = &params.items[i];

		buf_append_char(&out, ' ');
		buf_append(&out, p->key);
		if (p->value.p != NULL) {
			buf_append_char(&out, '=');
			buf_append(&out, p->value);
		}
	}
	fuzz_check(mail_params_parse(buf_str(&out), utf8, &again, &why) == 0 &&
	    again.count == params.count, "parameters not read again");
	buf_fini(&out);
	if (esmtp_mail(&params, arena, &m, &why) == 0)
		fuzz_check(!str_has_ctl(m.envid) && str_is_ascii(m.envid),
		    "ENVID");
	if (esmtp_rcpt(&params, utf8, arena, &r, &why) == 0)
		fuzz_check(!str_has_ctl(r.orcpt) && str_is_utf8(r.orcpt),
		    "ORCPT");
	(void)esmtp_wants_utf8(text);
}

static void check_xtext(struct str s)
{
	struct buf one, two;

	buf_init(&one, SIZE_MAX);
	buf_init(&two, SIZE_MAX);
	if (mail_xtext_decode(s, &one) == 0) {
		fuzz_check(!str_has_ctl(buf_str(&one)) &&
		    str_is_ascii(buf_str(&one)), "xtext decodes to this");
		mail_xtext_encode(buf_str(&one), &two);
		buf_reset(&one);
		/* "+41" is "A": the text may differ, its meaning not. */
		fuzz_check(mail_xtext_decode(buf_str(&two), &one) == 0,
		    "xtext not read again");
		buf_reset(&two);
		mail_xtext_encode(buf_str(&one), &two);
	} else {
		fuzz_check(one.n == 0, "something appended on failure");
	}
	buf_fini(&one);
	buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned options = fuzz_octet(&in) & 63;
	bool whole = fuzz_octet(&in) % 8 == 0;
	struct str text = fuzz_exact(in.rest), rest = text;
	struct arena *arena = arena_new(1 << 20);
	struct mail_refusal why = { 0 };
	struct mail_path path;
	int r;

	fuzz_budget_start();
	r = whole ? mail_path_parse_mailbox(text, options, arena, &path, &why)
	    : mail_path_parse(&rest, options, arena, &path, &why);
	fuzz_check_steps(100, n, 3000);
	if (r == 0) {
		fuzz_check(whole || rest.p + rest.n == text.p + text.n,
		    "rest is not the end");
		if (path.flags & MAIL_PATH_NULL)
			fuzz_check((options & MAIL_PATH_SENDER) &&
			    path.local.n == 0 && path.domain.n == 0,
			    "a null path");
		else
			check_path(&path, options, arena);
	} else {
		fuzz_check(why.code >= 400 && why.code < 600 &&
		    why.text != NULL, "no reply");
		rest = text;
	}
	if (!whole)
		check_params(rest, options & MAIL_PATH_SMTPUTF8, arena);
	check_xtext(text);
	{
		struct str type, address;

		if (mail_orcpt_parse(text, options & 1, arena, &type,
		    &address) == 0)
			fuzz_check(!str_has_ctl(type) && !str_has_ctl(address)
			    && str_is_utf8(address), "ORCPT");
	}
	arena_free(&arena);
	fuzz_end();
	return 0;
}
