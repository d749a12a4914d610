#include <errno.h>
#include <unistd.h>
#include "sendmail/sendmail.h"

/* At the start of a line; behind a dot there; behind dot and CR; elsewhere. */
enum { START, DOT, DOT_CR, INSIDE };

void input_init(struct input *in, int fd, bool ignore_dots)
{
	in->fd = fd;
	in->ignore_dots = ignore_dots;
	in->ended = in->failed = false;
	in->state = START;
	in->at = in->n = 0;
}

static int fill(struct input *in)
{
	ssize_t k;

	do {
		k = read(in->fd, in->room, sizeof(in->room));
	} while (k < 0 && errno == EINTR);
	in->at = 0;
	in->n = k > 0 ? (size_t)k : 0;
	if (k < 0)
		in->failed = true;
	return k < 0 ? -1 : k > 0;
}

/* What was held back while it could have been the end. */
static int give_held(struct input *in, struct buf *out)
{
	struct str held = in->state == DOT ? STR(".")
	    : in->state == DOT_CR ? STR(".\r") : STR_NONE;

	return buf_append(out, held);
}

/* A line of a single dot ends the message, as a person types it. */
static int take_dotted(struct input *in, struct buf *out, size_t most)
{
	while (in->at < in->n && out->n < most) {
		char c = in->room[in->at++];

		if (in->state == START && c == '.') {
			in->state = DOT;
			continue;
		}
		if (in->state == DOT && c == '\r') {
			in->state = DOT_CR;
			continue;
		}
		if ((in->state == DOT || in->state == DOT_CR) && c == '\n') {
			in->ended = true;
			return 0;
		}
		if (give_held(in, out) < 0 || buf_append_char(out, c) < 0)
			return -1;
		in->state = c == '\n' ? START : INSIDE;
	}
	return 0;
}

int input_read(struct input *in, struct buf *out, size_t most)
{
	size_t before = out->n;

	while (!in->ended && out->n == before && out->n < most) {
		if (in->at == in->n) {
			int rc = fill(in);

			if (rc < 0)
				return -1;
			if (rc == 0) {
				in->ended = true;
				return in->ignore_dots ? 0
				    : give_held(in, out);
			}
		}
		if (in->ignore_dots) {
			size_t n = in->n - in->at;

			if (n > most - out->n)
				n = most - out->n;
			if (buf_append_n(out, in->room + in->at, n) < 0)
				return -1;
			in->at += n;
		} else if (take_dotted(in, out, most) < 0) {
			return -1;
		}
	}
	return 0;
}
