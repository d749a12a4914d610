#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>
#include "mail/address.h"
#include "mail/encoded.h"
#include "mail/header.h"
#include "mail/path.h"
#include "msgs/submit.h"
#include "sendmail/sendmail.h"

#define ARENA_MAX (64 * 1024 * 1024)
#define RCPTS_MAX 50000
/* Recipients' octets in one packet. */
#define RCPTS_OCTETS (64 * 1024)

/* --- addresses --- */

/* A person writes "Joe <joe@example.com>" or "joe, anna" as well. */
static int parse(struct message *m, const char *text,
    struct mail_address_list *list)
{
	if (mail_address_parse(str_of(text), m->arena, list) < 0)
		return complain(EX_TEMPFAIL, "no memory");
	return 0;
}

static struct str join(struct message *m, const struct mail_address *a)
{
	if (a->domain.n == 0)
		return arena_str(m->arena, a->local);
	return arena_printf(m->arena, STR_FMT "@" STR_FMT, STR_ARG(a->local),
	    STR_ARG(a->domain));
}

static bool is_sendable(struct str address)
{
	return address.n > 0 && address.n <= PICKUP_ADDRESS_MAX / 2 &&
	    !str_has_ctl(address) && str_is_utf8(address);
}

static int add_list(struct message *m, const struct mail_address_list *list,
    const char *where)
{
	for (unsigned i = 0; i < list->count; i++) {
		const struct mail_address *a = &list->items[i];
		struct str address;

		if (a->kind != MAIL_ADDRESS_MAILBOX)
			continue;
		address = join(m, a);
		if (a->invalid || !is_sendable(address))
			return complain(EX_DATAERR, "%s: cannot be read as an "
			    "address: \"" STR_FMT "\"", where,
			    STR_ARG(address.n > 0 ? address : a->name));
		if (m->rcpts.n == RCPTS_MAX)
			return complain(EX_DATAERR, "more than %d recipients",
			    RCPTS_MAX);
		if ((m->rcpts.n & (m->rcpts.n - 1)) == 0) {
			struct str *more = arena_array(m->arena,
			    m->rcpts.n ? 2 * m->rcpts.n : 1, sizeof(*more));

			if (more == NULL)
				return complain(EX_TEMPFAIL, "no memory");
			if (m->rcpts.n > 0)
				memcpy(more, m->rcpts.v,
				    m->rcpts.n * sizeof(*more));
			m->rcpts.v = more;
		}
		m->rcpts.v[m->rcpts.n++] = address;
	}
	return arena_failed(m->arena) ? complain(EX_TEMPFAIL, "no memory")
	    : 0;
}

static int add_arguments(struct message *m)
{
	for (int i = 0; i < m->options->rcpt_count; i++) {
		const char *text = m->options->rcpts[i];
		struct mail_address_list list;
		int rc = parse(m, text, &list);

		if (rc == 0)
			rc = add_list(m, &list, text);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int set_sender(struct message *m, const struct passwd *pw)
{
	const char *text = m->options->has_sender ? m->options->sender
	    : pw != NULL ? pw->pw_name : NULL;
	struct mail_address_list list;
	int rc;

	if (text == NULL) {
		m->sender = arena_printf(m->arena, "%u", (unsigned)getuid());
		return 0;
	}
	if (text[0] == '\0')
		return 0;
	if ((rc = parse(m, text, &list)) != 0)
		return rc;
	if (list.count != 1 || list.items[0].kind != MAIL_ADDRESS_MAILBOX ||
	    list.items[0].invalid)
		return complain(EX_DATAERR, "-f: cannot be read as an "
		    "address: \"%s\"", text);
	m->sender = join(m, &list.items[0]);
	if (!is_sendable(m->sender))
		return complain(EX_DATAERR, "-f: cannot be a sender: \"%s\"",
		    text);
	return 0;
}

/* --- the header --- */

static bool is_resent(struct str header)
{
	struct mail_fields walk;
	struct mail_field f;

	mail_fields_init(&walk, header);
	while (mail_fields_next(&walk, &f))
		if (str_starts_nocase(f.name, STR("Resent-")))
			return true;
	return false;
}

/* Mailbox lines in front of the header are nobody's mail. */
static void drop_mailbox_lines(struct buf *b)
{
	while (str_starts(buf_str(b), STR("From ")) ||
	    str_starts(buf_str(b), STR(">From "))) {
		ssize_t n = str_chr(buf_str(b), '\n');

		buf_consume(b, n < 0 ? b->n : (size_t)n + 1);
	}
}

static int header_recipients(struct message *m, struct str header)
{
	struct mail_address_list list;

	if (mail_address_recipients(header, is_resent(header), m->arena,
		&list) < 0)
		return complain(EX_TEMPFAIL, "no memory");
	if (list.truncated)
		return complain(EX_DATAERR, "too many recipients in the "
		    "header");
	return add_list(m, &list, "message header");
}

static const char *full_name_of(const struct message *m,
    const struct passwd *pw)
{
	static char name[256];
	const char *p, *gecos;
	size_t n = 0;

	if (m->options->full_name != NULL && m->options->full_name[0])
		return m->options->full_name;
	if (pw == NULL || m->options->has_sender)
		return "";
	/* passwd(5): up to a comma, "&" is the login name */
	for (gecos = pw->pw_gecos; *gecos && *gecos != ','; gecos++) {
		if (*gecos != '&') {
			if (n + 1 < sizeof(name))
				name[n++] = *gecos;
			continue;
		}
		for (p = pw->pw_name; *p != '\0' && n + 1 < sizeof(name); p++)
			name[n++] = p == pw->pw_name ? ascii_upper(*p) : *p;
	}
	name[n] = '\0';
	return name;
}

/*
 * cleanup adds what else is missing, but only we know the person's name
 * (RFC 5322 3.6.2, RFC 6409 8.1). The null sender is left to it.
 */
static int add_from(struct message *m, const struct config *c,
    const struct passwd *pw)
{
	struct str text = buf_str(&m->content), local, domain, name;
	bool resent = is_resent(text);
	const char *origin = config_value(c, "myorigin");
	struct buf b;
	int rc = 0;

	if (m->options->gateway || m->sender.n == 0 ||
	    mail_header_count(text, resent ? "Resent-From" : "From") > 0)
		return 0;
	mail_path_split(m->sender, &local, &domain);
	if (domain.n == 0 && origin != NULL && origin[0] != '/')
		domain = str_of(origin);
	name = str_trim(str_of(full_name_of(m, pw)));
	if (str_has_ctl(name) || !str_is_utf8(name) || domain.n == 0)
		name = STR_NONE;
	buf_init(&b, MESSAGE_KEPT + 65536);
	buf_append_c(&b, resent ? "Resent-From: " : "From: ");
	if (str_is_ascii(name) && str_find(name, STR("=?")) < 0) {
		mail_address_append(&b, name, local, domain);
	} else {
		mail_words_encode(name, &b);
		buf_append_char(&b, ' ');
		mail_path_append_angle(&b, local, domain);
	}
	buf_append_char(&b, '\n');
	/* a line that begins with white space continues nothing of ours */
	if (text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t'))
		buf_append_char(&b, '\n');
	buf_append(&b, text);
	if (b.failed)
		rc = complain(EX_TEMPFAIL, "no memory");
	buf_fini(&m->content);
	m->content = b;
	return rc;
}

static bool is_international(const struct message *m)
{
	if (!str_is_ascii(m->sender))
		return true;
	for (size_t i = 0; i < m->rcpts.n; i++)
		if (!str_is_ascii(m->rcpts.v[i]))
			return true;
	return false;
}

/* --- the whole --- */

int message_read(struct message *m, const struct options *o,
    const struct config *c)
{
	const struct passwd *pw = getpwuid(getuid());
	size_t header;
	int rc;

	m->options = o;
	m->rcpts = (struct strs){ NULL, 0 };
	m->sender = STR_NONE;
	input_init(&m->input, STDIN_FILENO, o->ignore_dots);
	buf_init(&m->content, MESSAGE_KEPT + 65536);
	if ((m->arena = arena_new(ARENA_MAX)) == NULL)
		return complain(EX_TEMPFAIL, "no memory");
	if ((rc = set_sender(m, pw)) != 0 || (rc = add_arguments(m)) != 0)
		return rc;
	if (m->rcpts.n == 0 && !o->from_header)
		return complain(EX_USAGE, "Recipient addresses must be "
		    "specified on the command line or via the -t option");
	while (!m->input.ended && m->content.n < MESSAGE_KEPT)
		if (input_read(&m->input, &m->content, MESSAGE_KEPT) < 0)
			return complain(EX_TEMPFAIL, "standard input: %s",
			    strerror(errno));
	drop_mailbox_lines(&m->content);
	header = mail_header_size(buf_str(&m->content));
	if (o->from_header) {
		/* a recipient that we did not see is mail that is lost */
		if (header >= MAIL_HEADER_SIZE_MAX ||
		    (header >= m->content.n && !m->input.ended))
			return complain(EX_DATAERR, "message header is too "
			    "large");
		rc = header_recipients(m, str_sub(buf_str(&m->content), 0,
		    header));
		if (rc == 0 && m->rcpts.n == 0)
			rc = complain(EX_USAGE, "No recipient addresses found "
			    "in message header");
	}
	return rc != 0 ? rc : add_from(m, c, pw);
}

void message_envelope(const struct message *m, struct pickup_submit *s,
    size_t *next_rcpt)
{
	const struct options *o = m->options;

	*s = (struct pickup_submit){ .sender = m->sender, .flags = o->flags,
		.notify = o->notify, .ret = o->ret,
		.envid = str_of(o->envid) };
	if (o->gateway)
		s->flags |= PICKUP_GATEWAY;
	if (is_international(m))
		s->flags |= PICKUP_SMTPUTF8;
	if (o->verbose && s->notify == 0)
		s->notify = NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY;
	*next_rcpt = 0;
	if (!message_more_rcpts(m, next_rcpt, &s->rcpts))
		s->rcpts = (struct strs){ NULL, 0 };
}

bool message_more_rcpts(const struct message *m, size_t *next,
    struct strs *rcpts)
{
	size_t octets = 0, n = 0;

	while (*next + n < m->rcpts.n && n < PICKUP_RCPTS_MAX &&
	    octets < RCPTS_OCTETS)
		octets += m->rcpts.v[*next + n++].n + 4;
	*rcpts = (struct strs){ m->rcpts.v + *next, n };
	*next += n;
	return n > 0;
}
