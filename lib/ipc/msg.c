#include <unistd.h>
#include "ipc/msg.h"

static const void *at(const void *msg, const struct msg_field *f)
{
	return (const char *)msg + f->offset;
}

static void put_int(struct buf *out, uint64_t v, size_t octets)
{
	unsigned char raw[8];

	for (size_t i = 0; i < octets; i++)
		raw[i] = (unsigned char)(v >> (8 * i));
	buf_append_n(out, raw, octets);
}

static void put_str(struct buf *out, struct str s)
{
	if (s.n > MSG_MAX) {
		out->failed = true;
		return;
	}
	put_int(out, s.n, 4);
	buf_append(out, s);
}

static int encode_field(const struct msg_field *f, const void *p,
    struct buf *out, int *fds, size_t *nfds)
{
	switch (f->type) {
	case MSG_T_U64:
		put_int(out, *(const uint64_t *)p, 8);
		return *(const uint64_t *)p > f->max ? -1 : 0;
	case MSG_T_I64:
		put_int(out, (uint64_t)*(const int64_t *)p, 8);
		return 0;
	case MSG_T_BOOL:
		put_int(out, *(const bool *)p ? 1 : 0, 1);
		return 0;
	case MSG_T_STR:
		put_str(out, *(const struct str *)p);
		return ((const struct str *)p)->n > f->max ? -1 : 0;
	case MSG_T_STRS: {
		const struct strs *s = p;

		if (s->n > f->max)
			return -1;
		put_int(out, s->n, 4);
		for (size_t i = 0; i < s->n; i++)
			put_str(out, s->v[i]);
		return 0;
	}
	case MSG_T_NUMS: {
		const struct nums *s = p;

		if (s->n > f->max)
			return -1;
		put_int(out, s->n, 4);
		for (size_t i = 0; i < s->n; i++)
			put_int(out, s->v[i], 8);
		return 0;
	}
	case MSG_T_FD:
		put_int(out, *(const int *)p >= 0, 1);
		if (*(const int *)p >= 0) {
			if (*nfds == MSG_FD_MAX)
				return -1;
			fds[(*nfds)++] = *(const int *)p;
		}
		return 0;
	}
	return -1;
}

int msg_encode(const struct msg_schema *schema, const void *msg,
    struct buf *out, int fds[MSG_FD_MAX], size_t *nfds_r, const char **why_r)
{
	size_t start = out->n;

	*nfds_r = 0;
	put_int(out, schema->id, 2);
	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];

		if (encode_field(f, at(msg, f), out, fds, nfds_r) < 0 ||
		    out->failed || out->n - start > MSG_MAX) {
			*why_r = f->name;
			buf_truncate(out, start);
			return -1;
		}
	}
	return out->failed ? -1 : 0;
}

static int take_int(struct str *in, size_t octets, uint64_t *v)
{
	if (in->n < octets)
		return -1;
	*v = 0;
	for (size_t i = 0; i < octets; i++)
		*v |= (uint64_t)(unsigned char)in->p[i] << (8 * i);
	*in = str_from(*in, octets);
	return 0;
}

static int take_str(struct str *in, uint64_t max, struct str *s)
{
	uint64_t n;

	if (take_int(in, 4, &n) < 0 || n > max || n > in->n)
		return -1;
	*s = str_n(in->p, (size_t)n);
	*in = str_from(*in, (size_t)n);
	return 0;
}

uint16_t msg_id(struct str wire)
{
	uint64_t id;

	return take_int(&wire, 2, &id) < 0 ? 0 : (uint16_t)id;
}

static int decode_field(const struct msg_field *f, struct str *in, void *p,
    struct arena *arena, const int *fds, size_t nfds, size_t *used)
{
	uint64_t v;

	switch (f->type) {
	case MSG_T_U64:
		if (take_int(in, 8, p) < 0 || *(uint64_t *)p > f->max)
			return -1;
		return 0;
	case MSG_T_I64:
		return take_int(in, 8, p);
	case MSG_T_BOOL:
		if (take_int(in, 1, &v) < 0 || v > 1)
			return -1;
		*(bool *)p = v == 1;
		return 0;
	case MSG_T_STR:
		return take_str(in, f->max, p);
	case MSG_T_STRS: {
		struct strs *s = p;

		/* each element costs 4 octets: the count cannot lie by more */
		if (take_int(in, 4, &v) < 0 || v > f->max || v > in->n / 4)
			return -1;
		s->n = (size_t)v;
		if (s->n > 0 && (s->v = arena_array(arena, s->n,
			sizeof(*s->v))) == NULL)
			return -1;
		for (size_t i = 0; i < s->n; i++)
			if (take_str(in, MSG_MAX, &s->v[i]) < 0)
				return -1;
		return 0;
	}
	case MSG_T_NUMS: {
		struct nums *s = p;

		if (take_int(in, 4, &v) < 0 || v > f->max || v > in->n / 8)
			return -1;
		s->n = (size_t)v;
		if (s->n > 0 && (s->v = arena_array(arena, s->n,
			sizeof(*s->v))) == NULL)
			return -1;
		for (size_t i = 0; i < s->n; i++)
			take_int(in, 8, &s->v[i]);
		return 0;
	}
	case MSG_T_FD:
		if (take_int(in, 1, &v) < 0 || v > 1)
			return -1;
		*(int *)p = -1;
		if (v == 1) {
			if (*used == nfds)
				return -1;
			*(int *)p = fds[(*used)++];
		}
		return 0;
	}
	return -1;
}

int msg_decode(const struct msg_schema *schema, struct str wire,
    const int *fds, size_t nfds, struct arena *arena, void *msg,
    const char **why_r)
{
	size_t used = 0;
	uint64_t id;

	if (schema->size > 0)
		memset(msg, 0, schema->size);
	*why_r = "id";
	if (take_int(&wire, 2, &id) < 0 || id != schema->id)
		return -1;
	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];

		*why_r = f->name;
		if (decode_field(f, &wire, (char *)msg + f->offset, arena,
			fds, nfds, &used) < 0)
			return -1;
	}
	*why_r = "trailing data";
	if (wire.n > 0)
		return -1;
	*why_r = "trailing descriptors";
	return used == nfds ? 0 : -1;
}

void msg_close_fds(const struct msg_schema *schema, void *msg)
{
	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];
		int *fd = (int *)(void *)((char *)msg + f->offset);

		if (f->type == MSG_T_FD && *fd >= 0) {
			close(*fd);
			*fd = -1;
		}
	}
}

static void print_str(struct buf *out, struct str s)
{
	buf_append_char(out, '"');
	buf_append(out, str_sub(s, 0, 64));
	buf_append_c(out, s.n > 64 ? "...\"" : "\"");
}

void msg_print(const struct msg_schema *schema, const void *msg,
    struct buf *out)
{
	buf_append_c(out, schema->name);
	for (size_t i = 0; i < schema->nfields; i++) {
		const struct msg_field *f = &schema->fields[i];
		const void *p = at(msg, f);

		buf_printf(out, " %s=", f->name);
		switch (f->type) {
		case MSG_T_U64:
			buf_printf(out, "%llu",
			    (unsigned long long)*(const uint64_t *)p);
			break;
		case MSG_T_I64:
			buf_printf(out, "%lld",
			    (long long)*(const int64_t *)p);
			break;
		case MSG_T_BOOL:
			buf_append_c(out, *(const bool *)p ? "yes" : "no");
			break;
		case MSG_T_STR:
			print_str(out, *(const struct str *)p);
			break;
		case MSG_T_STRS:
			for (size_t k = 0; k < ((const struct strs *)p)->n; k++)
				print_str(out, ((const struct strs *)p)->v[k]);
			break;
		case MSG_T_NUMS:
			buf_printf(out, "(%zu)", ((const struct nums *)p)->n);
			break;
		case MSG_T_FD:
			buf_append_c(out, *(const int *)p >= 0 ? "fd" : "-");
			break;
		}
	}
}
