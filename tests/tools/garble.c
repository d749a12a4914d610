#include "garble.h"

/* What the code behind compares with. */
static const char *const words[] = { "", "a", "@", "anna@our.test",
	"bob@our.test", "nobody@our.test", "root", "postmaster", "our.test",
	"elsewhere.test", "local", "virtual", "smtp", "bounce", "error",
	"retry", "smtpd", "cleanup", "127.0.0.1", "192.0.2.1", "::1",
	"unknown", "imap", "pop3", "pass word-1", "\"a b\"@our.test",
	"a@[127.0.0.1]", "+ext", "a+b@our.test", "../../etc/passwd", "/",
	"2.0.0", "5.1.1", "4.3.0", "250 2.0.0 Ok", "4Zb0000001",
	"Subject: x\r\n\r\nx\r\n", "From: a@b\r\nTo: c@d\r\n\r\n", "\r\n",
	"x@y z", "%s%n", "\xff\xfe", "\xc3\xa4@our.test", ":include:/x",
	"|cat", "xn--nxasmq6b.test", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p" };
#define NWORDS (sizeof(words) / sizeof(words[0]))

static uint64_t draw(struct garble *g, uint64_t max)
{
	return g->draw(g->ctx, max);
}

static struct str some_text(struct garble *g, uint64_t max)
{
	struct str word;
	size_t n;
	char *p;

	switch (draw(g, 7)) {
	case 0:
		return STR_NONE;
	case 1: /* long, of one octet */
		n = (size_t)draw(g, max < 70000 ? max : 70000);
		if ((p = arena_alloc(g->arena, n ? n : 1)) == NULL)
			return STR_NONE;
		memset(p, (int)draw(g, 255), n);
		return str_n(p, n);
	case 2: /* as long as may be, or one longer */
		n = (size_t)(max < 100000 ? max : 100000) + !draw(g, 15);
		if ((p = arena_alloc(g->arena, n ? n : 1)) == NULL)
			return STR_NONE;
		memset(p, draw(g, 1) ? 'a' : '\n', n);
		return str_n(p, n);
	case 3: /* short, of any octets */
		n = (size_t)draw(g, 24);
		if ((p = arena_alloc(g->arena, n ? n : 1)) == NULL)
			return STR_NONE;
		for (size_t i = 0; i < n; i++)
			p[i] = (char)draw(g, 255);
		return str_n(p, n);
	default:
		word = str_of(words[draw(g, NWORDS - 1)]);
		return str_sub(word, 0, (size_t)max);
	}
}

static uint64_t some_number(struct garble *g, uint64_t max)
{
	switch (draw(g, 3)) {
	case 0:
		return draw(g, max < 12 ? max : 12);
	case 1:
		return max - draw(g, max < 2 ? max : 2);
	case 2: /* sometimes over the bound */
		return draw(g, 15) ? draw(g, max) : max + 1;
	default:
		return draw(g, max < 70000 ? max : 70000);
	}
}

static size_t some_count(struct garble *g, uint64_t max)
{
	switch (draw(g, 15)) {
	case 0:
		return 0;
	case 1:
		return (size_t)draw(g, max < 1100 ? max : 1100);
	default:
		return (size_t)draw(g, max < 3 ? max : 3);
	}
}

static void fill_field(struct garble *g, const struct msg_field *f, void *p,
    size_t count)
{
	switch (f->type) {
	case MSG_T_U64:
		*(uint64_t *)p = some_number(g, f->max);
		return;
	case MSG_T_I64:
		*(uint64_t *)p = draw(g, UINT64_MAX);
		return;
	case MSG_T_BOOL:
		*(bool *)p = draw(g, 1);
		return;
	case MSG_T_STR:
		*(struct str *)p = some_text(g, f->max);
		return;
	case MSG_T_STRS: {
		struct strs *s = p;

		s->v = arena_array(g->arena, count ? count : 1,
		    sizeof(*s->v));
		s->n = s->v == NULL ? 0 : count;
		for (size_t i = 0; i < s->n; i++)
			s->v[i] = some_text(g, 60);
		return;
	}
	case MSG_T_NUMS: {
		struct nums *s = p;

		s->v = arena_array(g->arena, count ? count : 1,
		    sizeof(*s->v));
		s->n = s->v == NULL ? 0 : count;
		for (size_t i = 0; i < s->n; i++)
			s->v[i] = some_number(g, 5000);
		return;
	}
	case MSG_T_FD:
		*(int *)p = g->descriptor != NULL && draw(g, 3)
		    ? g->descriptor(g->ctx) : -1;
		return;
	}
}

void garble_fill(struct garble *g, const struct msg_schema *schema, void *msg)
{
	/* Arrays that should run in parallel mostly do. */
	size_t count = some_count(g, 4096);

	memset(msg, 0, GARBLE_SIZE);
	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];
		bool is_array = f->type == MSG_T_STRS ||
		    f->type == MSG_T_NUMS;

		fill_field(g, f, (char *)msg + f->offset,
		    is_array && !draw(g, 15) ? some_count(g, f->max) : count);
	}
}

static void damage(struct garble *g, struct buf *out)
{
	size_t n = (size_t)draw(g, 3) + 1;

	switch (draw(g, 3)) {
	case 0:
		for (; n > 0 && out->n > 0; n--)
			out->p[draw(g, out->n - 1)] = (char)draw(g, 255);
		return;
	case 1:
		buf_truncate(out, (size_t)draw(g, out->n));
		return;
	case 2:
		for (; n > 0; n--)
			buf_append_char(out, (char)draw(g, 255));
		return;
	default:
		for (; n > 0 && out->n >= 6; n--) /* a length that lies */
			memset(out->p + draw(g, out->n - 4),
			    draw(g, 1) ? 0xff : 0, 4);
		return;
	}
}

int garble_packet(struct garble *g, const struct msg_schema *schema,
    struct buf *out, int fds[MSG_FD_MAX], size_t *nfds_r)
{
	static _Alignas(16) _Thread_local char msg[GARBLE_SIZE];
	const char *why;

	garble_fill(g, schema, msg);
	if (g->mend != NULL)
		g->mend(g->ctx, schema, msg);
	if (msg_encode(schema, msg, out, fds, nfds_r, &why) < 0)
		return -1;
	if (draw(g, 7) == 0)
		damage(g, out);
	return 0;
}
