#include "store/wire.h"

uint64_t wire_size(struct str raw)
{
	const char *p = raw.p, *end = raw.p + raw.n;
	uint64_t n = raw.n;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		n += p == raw.p || p[-1] != '\r';
		p++;
	}
	return n;
}

void wire_init(struct wire *w, struct str raw)
{
	*w = (struct wire){ .rest = raw };
}

/* Takes k octets off the rest; out may be NULL. */
static void pass(struct wire *w, char *out, size_t k)
{
	if (k == 0)
		return;
	if (out != NULL)
		memcpy(out, w->rest.p, k);
	w->after_cr = w->rest.p[k - 1] == '\r';
	w->rest.p += k;
	w->rest.n -= k;
}

static void put(char *out, size_t at, char c)
{
	if (out != NULL)
		out[at] = c;
}

static size_t convert(struct wire *w, char *out, size_t room)
{
	size_t done = 0;

	if (w->owe_lf && room > 0) {
		put(out, done++, '\n');
		w->owe_lf = false;
	}
	while (done < room && w->rest.n > 0) {
		size_t span = w->rest.n < room - done
		    ? w->rest.n : room - done;
		const char *nl = memchr(w->rest.p, '\n', span);
		size_t k = nl != NULL ? (size_t)(nl - w->rest.p) : span;

		pass(w, out != NULL ? out + done : NULL, k);
		done += k;
		if (nl == NULL)
			continue;
		if (!w->after_cr) {
			put(out, done++, '\r');
			w->owe_lf = done == room;
		}
		if (!w->owe_lf)
			put(out, done++, '\n');
		w->after_cr = false;
		w->rest.p++;
		w->rest.n--;
	}
	return done;
}

size_t wire_read(struct wire *w, char *out, size_t room)
{
	return convert(w, out, room);
}

uint64_t wire_skip(struct wire *w, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t left = n - done;
		size_t k = convert(w, NULL,
		    left > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)left);

		if (k == 0)
			break;
		done += k;
	}
	return done;
}
