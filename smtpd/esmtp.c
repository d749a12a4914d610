#include "msgs/submit.h"
#include "smtpd/esmtp.h"

#define ENVID_MAX 100 /* RFC 3461 4.4, octets decoded */
#define ORCPT_MAX 500 /* RFC 3461 4.2, octets of the whole value */
#define AUTH_MAX 500  /* RFC 4954 5 */

static const struct mail_refusal BAD_VALUE = { 501, { 5, 5, 4 },
	"Bad parameter value" };
static const struct mail_refusal UNSUPPORTED = { 555, { 5, 5, 4 },
	"Unsupported option" };

static int take_size(struct str v, struct arena *a, struct esmtp_mail *m)
{
	(void)a;
	m->has_size = true;
	if (v.n == 0 || v.n > 20) /* RFC 1870 4: at most 20 digits */
		return -1;
	for (size_t i = 0; i < v.n; i++)
		if (!ascii_is_digit(v.p[i]))
			return -1;
	if (str_to_u64(v, UINT64_MAX - 1, &m->size) < 0)
		m->size = UINT64_MAX;
	return 0;
}

static int take_body(struct str v, struct arena *a, struct esmtp_mail *m)
{
	(void)a;
	if (str_eq_nocase_c(v, "7BIT"))
		m->body = ESMTP_7BIT;
	else if (str_eq_nocase_c(v, "8BITMIME"))
		m->body = ESMTP_8BITMIME;
	else
		return -1;
	return 0;
}

static int take_smtputf8(struct str v, struct arena *a, struct esmtp_mail *m)
{
	(void)a;
	m->smtputf8 = true;
	return v.p == NULL ? 0 : -1; /* RFC 6531 3.4: it has no value */
}

static int take_ret(struct str v, struct arena *a, struct esmtp_mail *m)
{
	(void)a;
	m->ret = str_eq_nocase_c(v, "FULL") ? 1
	    : str_eq_nocase_c(v, "HDRS")    ? 2
					    : 0;
	return m->ret != 0 ? 0 : -1;
}

/* Decodes xtext of 1 to max octets into the arena. */
static int decode(struct str v, size_t max, struct arena *a,
    struct str *text_r)
{
	struct buf b;
	int rc;

	buf_init(&b, max);
	rc = mail_xtext_decode(v, &b);
	if (rc == 0 && b.n > 0)
		*text_r = arena_str(a, buf_str(&b));
	else
		rc = -1;
	buf_fini(&b);
	return rc;
}

static int take_envid(struct str v, struct arena *a, struct esmtp_mail *m)
{
	return decode(v, ENVID_MAX, a, &m->envid);
}

/* RFC 4954 5: what a server that trusts no client's word makes of it is
 * AUTH=<>, which is what we relay by saying nothing. */
static int take_auth(struct str v, struct arena *a, struct esmtp_mail *m)
{
	struct str unused;

	(void)m;
	return decode(v, AUTH_MAX, a, &unused);
}

int esmtp_mail(const struct mail_params *params, struct arena *arena,
    struct esmtp_mail *m, struct mail_refusal *why_r)
{
	static const struct {
		const char *keyword;
		int (*take)(struct str value, struct arena *,
		    struct esmtp_mail *);
	} known[] = {
		{ "SIZE", take_size },		/* RFC 1870 4 */
		{ "BODY", take_body },		/* RFC 6152 2 */
		{ "SMTPUTF8", take_smtputf8 },	/* RFC 6531 3.4 */
		{ "RET", take_ret },		/* RFC 3461 4.3 */
		{ "ENVID", take_envid },	/* RFC 3461 4.4 */
		{ "AUTH", take_auth },		/* RFC 4954 5 */
	};
	const size_t n = sizeof(known) / sizeof(known[0]);

	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < params->count; i++) {
		const struct mail_param *p = &params->items[i];
		size_t k = 0;

		while (k < n && !str_eq_nocase_c(p->key, known[k].keyword))
			k++;
		if (k == n) {
			*why_r = UNSUPPORTED; /* RFC 5321 4.1.1.11 */
			return -1;
		}
		if (known[k].take(p->value, arena, m) < 0) {
			*why_r = BAD_VALUE;
			return -1;
		}
	}
	return 0;
}

/* RFC 3461 4.1: NEVER stands alone; no word twice. */
static int take_notify(struct str v, struct esmtp_rcpt *r)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {
		{ "NEVER", NOTIFY_NEVER },
		{ "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE },
		{ "DELAY", NOTIFY_DELAY },
	};
	struct str word;

	while (str_split(&v, ',', &word)) {
		unsigned bit = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (str_eq_nocase_c(word, words[i].word))
				bit = words[i].bit;
		if (bit == 0 || (r->notify & bit) != 0)
			return -1;
		r->notify |= bit;
	}
	if ((r->notify & NOTIFY_NEVER) != 0 && r->notify != NOTIFY_NEVER)
		return -1;
	return r->notify != 0 ? 0 : -1;
}

static int take_orcpt(struct str v, bool utf8, struct arena *a,
    struct esmtp_rcpt *r)
{
	struct str type, address;

	if (v.n > ORCPT_MAX || mail_orcpt_parse(v, utf8, a, &type, &address))
		return -1;
	r->orcpt = arena_printf(a, STR_FMT ";" STR_FMT, STR_ARG(type),
	    STR_ARG(address));
	return r->orcpt.n > 0 ? 0 : -1;
}

int esmtp_rcpt(const struct mail_params *params, bool smtputf8,
    struct arena *arena, struct esmtp_rcpt *r, struct mail_refusal *why_r)
{
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < params->count; i++) {
		const struct mail_param *p = &params->items[i];
		int rc;

		if (str_eq_nocase_c(p->key, "NOTIFY")) {
			rc = take_notify(p->value, r);
		} else if (str_eq_nocase_c(p->key, "ORCPT")) {
			rc = take_orcpt(p->value, smtputf8, arena, r);
		} else {
			*why_r = UNSUPPORTED;
			return -1;
		}
		if (rc < 0) {
			*why_r = BAD_VALUE;
			return -1;
		}
	}
	return 0;
}

bool esmtp_wants_utf8(struct str text)
{
	struct str word;

	while (str_word(&text, " ", &word))
		if (str_eq_nocase_c(word, "SMTPUTF8"))
			return true;
	return false;
}
