/* cmd_postcat.c - what is in a queue file */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/clock.h"
#include "mail/header.h"
#include "msgs/maildrop.h"
#include "msgs/pickup.h"
#include "postern/queue_list.h"
#include "queue/log.h"
#include "queue/spool.h"

#define ARENA_MAX (256 * 1024 * 1024)
#define PIECE 65536

static void print_time(const char *name, int64_t when)
{
	time_t t = (time_t)(when / CLOCK_SECOND);
	char text[64] = "";
	struct tm tm;

	if (localtime_r(&t, &tm) != NULL)
		strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
	printf("%s: %s\n", name, text);
}

static void print_attribute(const char *name, struct str value)
{
	if (value.n > 0)
		printf("named_attribute: %s=" STR_FMT "\n", name,
		    STR_ARG(value));
}

static void print_envelope(const struct queue_envelope *e)
{
	printf("message_size: %llu recipients: %zu\n",
	    (unsigned long long)e->size, e->recipient_count);
	print_time("message_arrival_time", e->arrival);
	print_attribute("client_name", e->client_name);
	print_attribute("client_address", e->client_addr);
	print_attribute("helo_name", e->helo);
	print_attribute("protocol_name", e->protocol);
	print_attribute("sasl_username", e->login);
	print_attribute("sasl_method", e->login_method);
	print_attribute("envelope_id", e->envid);
	if (e->ret != QUEUE_RET_NONE)
		printf("named_attribute: ret_flags=%s\n",
		    e->ret == QUEUE_RET_FULL ? "full" : "hdrs");
	printf("sender: " STR_FMT "\n", STR_ARG(e->sender));
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct queue_recipient *r = &e->recipients[i];

		if (r->orcpt.n > 0)
			printf("named_attribute: dsn_orig_rcpt=" STR_FMT "\n",
			    STR_ARG(r->orcpt));
		if (r->notify != 0)
			printf("named_attribute: notify_flags=%u\n",
			    r->notify);
		if (r->original.n > 0)
			printf("original_recipient: " STR_FMT "\n",
			    STR_ARG(r->original));
		printf("recipient: " STR_FMT "\n", STR_ARG(r->address));
	}
}

static int print_record(const struct queue_log_record *r, void *ctx)
{
	(void)ctx;
	print_time("log_time", r->when);
	if (r->recipient == QUEUE_LOG_MESSAGE)
		printf("log: message: ");
	else
		printf("log: recipient %u: ", r->recipient + 1);
	fputs(queue_log_what_name(r->what), stdout);
	if (r->status.n > 0)
		printf(" " STR_FMT, STR_ARG(r->status));
	if (r->host.n > 0)
		printf(" relay=" STR_FMT, STR_ARG(r->host));
	if (r->text.n > 0)
		printf(" (" STR_FMT ")", STR_ARG(r->text));
	putchar('\n');
	return 0;
}

/* The content with the line ends of this system. */
static int print_content(const struct queue_reader *r, uint64_t at,
    uint64_t end)
{
	static char piece[PIECE];
	bool after_cr = false;

	while (at < end) {
		size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = queue_reader_pread(r, piece, want, at);

		if (n <= 0)
			return -1;
		for (ssize_t i = 0; i < n; i++) {
			if (after_cr && piece[i] != '\n')
				putchar('\r');
			after_cr = piece[i] == '\r';
			if (!after_cr)
				putchar(piece[i]);
		}
		at += (uint64_t)n;
	}
	if (after_cr)
		putchar('\r');
	return 0;
}

static uint64_t header_octets(const struct queue_reader *r)
{
	size_t n = r->header.content_octets < MAIL_HEADER_SIZE_MAX
	    ? (size_t)r->header.content_octets : MAIL_HEADER_SIZE_MAX;
	char *p = malloc(n + 1);
	ssize_t got = p == NULL ? -1 : queue_reader_pread(r, p, n, 0);
	size_t size = got < 0 ? 0 : mail_header_size(str_n(p, (size_t)got));

	free(p);
	return size;
}

static int print_file(int fd, const char *name, unsigned parts)
{
	struct arena *a = arena_new(ARENA_MAX);
	bool frame = parts & POSTCAT_ENVELOPE;
	struct queue_reader r;
	const char *why = "no memory";
	uint64_t header, end;
	int rc = -1;

	if (a == NULL || queue_reader_open(&r, fd, 0, a, &why) < 0) {
		complain("fatal: %s: %s", name, why);
		arena_free(&a);
		return EX_DATAERR;
	}
	if (frame) {
		printf("*** ENVELOPE RECORDS %s ***\n", name);
		print_envelope(&r.envelope);
	}
	header = header_octets(&r);
	if (frame && parts & (POSTCAT_HEADER | POSTCAT_BODY))
		printf("*** MESSAGE CONTENTS %s ***\n", name);
	if ((!(parts & POSTCAT_HEADER) ||
		print_content(&r, 0, header) == 0) &&
	    (!(parts & POSTCAT_BODY) ||
		print_content(&r, header, r.header.content_octets) == 0))
		rc = 0;
	if (rc == 0 && frame) {
		printf("*** DELIVERY RECORDS %s ***\n", name);
		rc = queue_log_read(fd, &r.header, print_record, NULL, &end);
		printf("*** MESSAGE FILE END %s ***\n", name);
	}
	if (rc < 0)
		complain("fatal: %s: %s", name, strerror(errno));
	arena_free(&a);
	return rc < 0 ? EX_IOERR : 0;
}

/* --- what waits in maildrop/ --- */

struct drop {
	int fd;
	char *room;
	struct arena *arena;	/* of one packet */
	unsigned parts;
	struct buf line;	/* of the header, as far as it is known */
	bool in_body;
};

static void print_rcpts(const struct drop *d, const struct strs *rcpts)
{
	for (size_t i = 0; d->parts & POSTCAT_ENVELOPE && i < rcpts->n; i++)
		printf("recipient: " STR_FMT "\n", STR_ARG(rcpts->v[i]));
}

/* Content with the line ends that it was left with; the header ends behind
 * the first line that is empty. */
static void print_piece(struct drop *d, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool was_body = d->in_body;

		if (!d->in_body && s.p[i] == '\n') {
			struct str line = str_trim(buf_str(&d->line));

			d->in_body = line.n == 0;
			buf_reset(&d->line);
		} else if (!d->in_body && d->line.n < 2) {
			buf_append_char(&d->line, s.p[i]);
		}
		if (d->parts & (was_body ? POSTCAT_BODY : POSTCAT_HEADER))
			putchar(s.p[i]);
	}
}

/* 1: there is more, 0: that was all, -1: damaged. */
static int print_packet(struct drop *d, bool *has_content, const char *name)
{
	struct pickup_rcpts rcpts;
	struct pickup_data data;
	struct str wire;
	const char *why;

	arena_reset(d->arena);
	if (maildrop_read(d->fd, d->room, &wire) < 0)
		return -1;
	if (msg_id(wire) == pickup_rcpts_schema.id && !*has_content) {
		if (msg_decode(&pickup_rcpts_schema, wire, NULL, 0, d->arena,
			&rcpts, &why) < 0)
			return -1;
		print_rcpts(d, &rcpts.rcpts);
		return 1;
	}
	if (msg_decode(&pickup_data_schema, wire, NULL, 0, d->arena, &data,
		&why) < 0)
		return -1;
	if (!*has_content && d->parts & POSTCAT_ENVELOPE &&
	    d->parts & (POSTCAT_HEADER | POSTCAT_BODY))
		printf("*** MESSAGE CONTENTS %s ***\n", name);
	*has_content = true;
	print_piece(d, data.content);
	return !data.last;
}

static int print_dropped(struct drop *d, const char *name)
{
	struct pickup_submit m;
	bool has_content = false;
	struct str wire;
	const char *why;
	struct stat st;
	int rc = 1;

	if (fstat(d->fd, &st) < 0 ||
	    maildrop_read(d->fd, d->room, &wire) < 0 ||
	    msg_decode(&pickup_submit_schema, wire, NULL, 0, d->arena, &m,
		&why) < 0)
		return -1;
	if (d->parts & POSTCAT_ENVELOPE) {
		printf("*** ENVELOPE RECORDS %s ***\n", name);
		print_time("message_arrival_time", maildrop_since(&st));
		printf("named_attribute: uid=%lu\n",
		    (unsigned long)st.st_uid);
		print_attribute("envelope_id", m.envid);
		printf("sender: " STR_FMT "\n", STR_ARG(m.sender));
		print_rcpts(d, &m.rcpts);
	}
	while (rc > 0)
		rc = print_packet(d, &has_content, name);
	if (rc == 0 && d->parts & POSTCAT_ENVELOPE)
		printf("*** MESSAGE FILE END %s ***\n", name);
	return rc;
}

static int print_drop(int fd, const char *name, unsigned parts)
{
	struct drop d = { .fd = fd, .room = malloc(MSG_MAX),
		.arena = arena_new(4 * MSG_MAX), .parts = parts };
	int rc = -1;

	buf_init(&d.line, 8);
	if (d.room != NULL && d.arena != NULL)
		rc = print_dropped(&d, name);
	if (rc < 0)
		complain("fatal: %s: it is no whole message", name);
	buf_fini(&d.line);
	arena_free(&d.arena);
	free(d.room);
	return rc < 0 ? EX_DATAERR : 0;
}

int queue_print_message(struct queue_access *q, const char *id,
    unsigned parts)
{
	char name[128];
	uint64_t where;
	int64_t due;
	int fd = queue_access_show(q, str_of(id), &where, &due), rc;

	if (fd < 0) {
		complain("fatal: open queue file %s: %s", id,
		    strerror(errno));
		return EX_NOINPUT;
	}
	if (where == QUEUE_IN_DEFERRED)
		snprintf(name, sizeof(name), "deferred/%lld/%.40s",
		    (long long)due, id);
	else
		snprintf(name, sizeof(name), "%s/%.40s",
		    queue_where_name(where), id);
	rc = where == QUEUE_IN_MAILDROP ? print_drop(fd, name, parts)
	    : print_file(fd, name, parts);
	close(fd);
	return rc;
}

static int usage(void)
{
	fprintf(stderr, "usage: postcat [-behv] [-c DIRECTORY] -q ID... | "
	    "FILE...\n");
	return 1;
}

static int run_postcat(const struct context *outer, int argc, char **argv)
{
	struct context ctx = *outer;
	struct queue_access *q = NULL;
	bool by_id = false;
	unsigned parts = 0;
	int c, rc = 0;

	while ((c = getopt(argc, argv, "bc:ehqv")) != -1) {
		switch (c) {
		case 'b':
			parts |= POSTCAT_BODY;
			break;
		case 'c':
			ctx.config_dir = optarg;
			break;
		case 'e':
			parts |= POSTCAT_ENVELOPE;
			break;
		case 'h':
			parts |= POSTCAT_HEADER;
			break;
		case 'q':
			by_id = true;
			break;
		case 'v': /* all that there is, as without -b -e -h */
			parts = 7;
			break;
		default:
			return usage();
		}
	}
	if (optind == argc)
		return usage();
	if (parts == 0)
		parts = 7;
	if (by_id && (q = queue_access_open(&ctx, QUEUE_ACCESS_READ,
		"cannot read the queue")) == NULL)
		return 1;
	for (; rc == 0 && optind < argc; optind++) {
		int fd;

		if (by_id) {
			rc = queue_print_message(q, argv[optind], parts) != 0;
			continue;
		}
		if ((fd = open(argv[optind], O_RDONLY | O_CLOEXEC)) < 0) {
			complain("fatal: open %s: %s", argv[optind],
			    strerror(errno));
			rc = 1;
			continue;
		}
		rc = print_file(fd, argv[optind], parts);
		close(fd);
	}
	queue_access_close(&q);
	return fflush(stdout) == 0 ? rc : EX_IOERR;
}

const struct command command_postcat = { NULL, "postcat", run_postcat,
	"[-behv] -q ID... | FILE...", "prints queue files" };
