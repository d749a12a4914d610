#include "base/log.h"
#include "cleanup/header.h"
#include "mail/address.h"
#include "mail/compose.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/path.h"

/* Addresses of one field in memory, octets; more is left as it is. */
#define ADDRESSES_MAX (1024 * 1024)

/* The octets of a "From " or ">From " line that content begins with. */
static size_t mailbox_line(struct str content)
{
	ssize_t n;

	if (!str_starts(content, STR("From ")) &&
	    !str_starts(content, STR(">From ")))
		return 0;
	n = str_chr(content, '\n');
	return n < 0 ? content.n : (size_t)n + 1;
}

int header_find_end(struct str content, bool complete,
    struct header_end *end)
{
	size_t start = mailbox_line(content);
	struct str rest = str_from(content, start);
	struct mail_fields walk;
	struct mail_field field;
	size_t fields = start;

	*end = (struct header_end){ .start = start };
	if (!complete && str_chr(rest, '\n') < 0)
		return rest.n > HEADER_MAX ? -1 : 0;
	mail_fields_init(&walk, rest);
	while (mail_fields_next(&walk, &field))
		fields = start + (size_t)(field.raw.p - rest.p) + field.raw.n;
	if (walk.truncated)
		return -1;
	end->fields = fields;
	end->body = start + walk.body_at;
	end->has_blank = walk.has_blank;
	if (walk.has_blank || complete)
		return 1;
	/* Ended by a line that is no field: only if all of it is here. */
	if (str_chr(str_from(content, end->body), '\n') >= 0)
		return 1;
	return content.n > HEADER_MAX ? -1 : 0;
}

/* --- fields --- */

struct name {
	const char *text;
	size_t flag; /* offset of a bool in struct header_facts */
};

static bool is_dropped(struct str name, const struct header_rules *rules)
{
	static const char *const names[] = { "Bcc", "Resent-Bcc",
		"Content-Length" };

	/* RFC 5321 4.4: who delivers at last writes it, nobody before. */
	if (str_eq_nocase_c(name, "Return-Path"))
		return true;
	if (!rules->drop)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase_c(name, names[i]))
			return true;
	return false;
}

static void note_field(const struct mail_field *f, struct header_facts *facts)
{
#define FLAG(member) offsetof(struct header_facts, member)
	static const struct name names[] = {
		{ "Date", FLAG(has_date) },
		{ "Message-ID", FLAG(has_message_id) },
		{ "From", FLAG(has_from) },
		{ "Resent-Date", FLAG(has_resent_date) },
		{ "Resent-Message-ID", FLAG(has_resent_message_id) },
		{ "Resent-From", FLAG(has_resent_from) },
	};
#undef FLAG

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase_c(f->name, names[i].text))
			*(bool *)((char *)facts + names[i].flag) = true;
	if (str_starts_nocase(f->name, STR("Resent-")))
		facts->is_resent = true;
	if (str_eq_nocase_c(f->name, "Received"))
		facts->hops++;
	if (facts->message_id.n == 0 &&
	    str_eq_nocase_c(f->name, "Message-ID")) {
		struct str rest = f->body;

		facts->message_id = mail_msgid_next(&rest);
	}
}

/* The authserv-id is the first word of the field (RFC 8601 2.2). */
static bool is_forged(const struct mail_field *f, struct str authserv_id)
{
	struct str body = f->body, id;

	return authserv_id.n > 0 &&
	    str_eq_nocase_c(f->name, "Authentication-Results") &&
	    str_word(&body, " \t\r\n;(", &id) &&
	    str_eq_nocase(id, authserv_id);
}

/* --- addresses of submitted mail that lack a domain --- */

static bool holds_addresses(struct str name)
{
	static const char *const names[] = { "From", "Sender", "Reply-To", "To",
		"Cc", "Bcc" };

	if (str_starts_nocase(name, STR("Resent-")))
		name = str_from(name, 7);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase_c(name, names[i]))
			return true;
	return false;
}

static bool lacks_origin(const struct mail_address *a,
    const struct header_rules *rules)
{
	return rules->origin.n > 0 && a->domain.p == NULL && a->local.n > 0;
}

static bool lacks_dot(const struct mail_address *a,
    const struct header_rules *rules)
{
	return rules->dot_domain.n > 0 && a->domain.n > 0 &&
	    a->domain.p[0] != '[' && str_chr(a->domain, '.') < 0;
}

/*
 * The addresses of a field, if one of them is short. What cannot be read as
 * a list of addresses is left as it is: NULL.
 */
static const struct mail_address_list *short_addresses(
    const struct mail_field *f, const struct header_rules *rules,
    struct arena *arena, struct mail_address_list *list)
{
	bool any = false;

	if ((rules->origin.n == 0 && rules->dot_domain.n == 0) ||
	    !holds_addresses(f->name) ||
	    mail_address_parse(f->body, arena, list) < 0 || list->invalid ||
	    list->truncated)
		return NULL;
	for (unsigned i = 0; i < list->count; i++)
		any |= list->items[i].kind == MAIL_ADDRESS_MAILBOX &&
		    (lacks_origin(&list->items[i], rules) ||
			lacks_dot(&list->items[i], rules));
	return any ? list : NULL;
}

static void append_mailbox(const struct mail_address *a,
    const struct header_rules *rules, struct buf *out)
{
	struct str domain = a->domain;
	struct buf b;

	buf_init(&b, 512);
	if (lacks_origin(a, rules)) {
		domain = rules->origin;
	} else if (lacks_dot(a, rules)) {
		buf_printf(&b, STR_FMT "." STR_FMT, STR_ARG(a->domain),
		    STR_ARG(rules->dot_domain));
		domain = buf_str(&b);
	}
	mail_address_append(out, a->name, a->local, domain);
	buf_fini(&b);
}

/* The field anew, an address a line (RFC 5322 3.4). */
static void write_addresses(const struct mail_field *f,
    const struct mail_address_list *list, const struct header_rules *rules,
    struct buf *out)
{
	bool comma = false;

	buf_printf(out, STR_FMT ": ", STR_ARG(f->name));
	for (unsigned i = 0; i < list->count; i++) {
		const struct mail_address *a = &list->items[i];

		if (a->kind == MAIL_ADDRESS_GROUP_END) {
			buf_append_c(out, ";");
			comma = true;
			continue;
		}
		if (comma)
			buf_append_c(out, ",\r\n\t");
		comma = a->kind != MAIL_ADDRESS_GROUP;
		if (comma)
			append_mailbox(a, rules, out);
		else
			buf_printf(out, STR_FMT ": ", STR_ARG(a->name));
	}
	buf_append_c(out, "\r\n");
}

int header_examine(struct str fields, const struct header_rules *rules,
    struct header_facts *facts)
{
	struct arena *arena = arena_new(ADDRESSES_MAX);
	struct mail_address_list list;
	struct mail_fields walk;
	struct mail_field f;

	memset(facts, 0, sizeof(*facts));
	if (arena == NULL)
		return -1;
	mail_fields_init(&walk, fields);
	while (mail_fields_next(&walk, &f)) {
		note_field(&f, facts);
		facts->has_dropped |= is_dropped(f.name, rules);
		facts->has_long |= f.raw.n > rules->field_max;
		facts->has_short |= short_addresses(&f, rules, arena, &list) !=
		    NULL;
		arena_reset(arena);
		facts->has_forged |= is_forged(&f, rules->authserv_id);
	}
	arena_free(&arena);
	return 0;
}

/*
 * A field's front, up to the end of a line if it has one. Nothing of a field
 * whose name alone is too long: without its colon it would be no field, and
 * the header would end there.
 */
static int write_cut(struct str raw, size_t max, struct buf *out)
{
	struct str front = str_sub(raw, 0, max);
	ssize_t nl = str_rchr(front, '\n');

	if (str_chr(front, ':') < 0)
		return 0;
	if (nl > 0)
		return buf_append(out, str_sub(front, 0, (size_t)nl + 1));
	if (front.n > 0 && front.p[front.n - 1] == '\r')
		front.n--;
	return buf_append(out, front) < 0 ||
		buf_append(out, STR("\r\n")) < 0
	    ? -1
	    : 0;
}

/* One field as the rules want it. */
static int write_field(const struct mail_field *f,
    const struct header_rules *rules, struct arena *arena, struct buf *out)
{
	size_t max = rules->field_max;
	struct mail_address_list list;

	if (is_dropped(f->name, rules) ||
	    is_forged(f, rules->authserv_id))
		return 0;
	if (f->raw.n > max)
		return write_cut(f->raw, max, out);
	if (short_addresses(f, rules, arena, &list) == NULL)
		return buf_append(out, f->raw);
	write_addresses(f, &list, rules, out);
	return out->failed ? -1 : 0;
}

int header_write(struct str fields, const struct header_rules *rules,
    struct buf *out)
{
	struct arena *arena = arena_new(ADDRESSES_MAX);
	struct mail_fields walk;
	struct mail_field f;
	int rc = 0;

	if (arena == NULL)
		return -1;

	mail_fields_init(&walk, fields);
	while (mail_fields_next(&walk, &f)) {
		if (rc == 0)
			rc = write_field(&f, rules, arena, out);
		arena_reset(arena);
	}
	arena_free(&arena);
	return rc;
}

static void add_from(const struct header_origin *o, struct buf *out)
{
	struct str local, domain;

	mail_path_split(o->sender, &local, &domain);
	if (o->sender.n == 0) { /* a null sender has to be somebody here */
		local = STR("MAILER-DAEMON");
		domain = o->host;
	}
	mail_path_append(out, local, domain.n > 0 ? domain : o->host);
	buf_append_c(out, "\r\n");
}

int header_complete(const struct header_facts *f,
    const struct header_origin *o, struct buf *out)
{
	const char *prefix = f->is_resent ? "Resent-" : "";

	if (!(f->is_resent ? f->has_resent_date : f->has_date)) {
		buf_printf(out, "%sDate: ", prefix);
		mail_date_append(out, o->time, o->zone);
		buf_append_c(out, "\r\n");
	}
	if (!(f->is_resent ? f->has_resent_message_id : f->has_message_id)) {
		buf_printf(out, "%sMessage-Id: ", prefix);
		mail_msgid_append(out, o->time, o->id, o->host);
		buf_append_c(out, "\r\n");
	}
	if (!(f->is_resent ? f->has_resent_from : f->has_from)) {
		buf_printf(out, "%sFrom: ", prefix);
		add_from(o, out);
	}
	return out->failed ? -1 : 0;
}
