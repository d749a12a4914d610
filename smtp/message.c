#include <errno.h>
#include <stdlib.h>
#include "queue/id.h"
#include "smtp/message.h"
#include "smtp/recode.h"

#define MIME_ARENA_MAX (8 * 1024 * 1024)

static int load(struct message *m, const char **why_r)
{
	size_t n = 0;

	*why_r = "no memory";
	if ((m->content = malloc(m->size + 1)) == NULL)
		return -1;
	*why_r = "wrong checksum of the content";
	for (;;) {
		ssize_t k = queue_reader_read(&m->reader, m->content + n,
		    m->size - n + 1);

		if (k < 0)
			return -1;
		if (k == 0)
			break;
		n += (size_t)k;
	}
	if (n == m->size)
		return 0;
	errno = EBADMSG;
	return -1;
}

int message_open(struct message *m, int fd, struct str id,
    const char **why_r)
{
	uint64_t number;

	memset(m, 0, sizeof(*m));
	*why_r = "bad queue id";
	if (queue_id_parse(id, &number) < 0) {
		errno = EBADMSG;
		return -1;
	}
	if (queue_reader_open_header(&m->reader, fd, number, why_r) < 0)
		return -1;
	m->size = m->reader.header.content_octets;
	if (m->size > MESSAGE_IN_MEMORY || load(m, why_r) == 0)
		return 0;
	message_fini(m);
	return -1;
}

void message_fini(struct message *m)
{
	free(m->content);
	m->content = NULL;
	buf_fini(&m->recoded);
}

void message_rewind(struct message *m)
{
	m->at = 0;
	if (m->content == NULL)
		queue_reader_rewind(&m->reader);
}

int message_next(struct message *m, char *buf, size_t size,
    struct str *piece_r)
{
	ssize_t k;

	if (m->use_recoded) {
		*piece_r = str_from(buf_str(&m->recoded), m->at);
		m->at = m->recoded.n;
		return piece_r->n > 0;
	}
	if (m->content != NULL) {
		*piece_r = str_n(m->content + m->at, (size_t)m->size - m->at);
		m->at = (size_t)m->size;
		return piece_r->n > 0;
	}
	k = queue_reader_read(&m->reader, buf, size);
	*piece_r = str_n(buf, k > 0 ? (size_t)k : 0);
	return k < 0 ? -1 : k > 0;
}

uint64_t message_size(const struct message *m)
{
	return m->use_recoded ? m->recoded.n : m->size;
}

static int recode(struct message *m, const char **why_r)
{
	struct arena *arena;
	int rc;

	if (m->size > RECODE_MAX) {
		*why_r = "it is too large to be recoded";
		errno = EFBIG;
		return -1;
	}
	if (m->content == NULL) {
		queue_reader_rewind(&m->reader);
		if (load(m, why_r) < 0) {
			free(m->content);
			m->content = NULL;
			return -1;
		}
	}
	*why_r = "no memory";
	if ((arena = arena_new(MIME_ARENA_MAX)) == NULL)
		return -1;
	buf_init(&m->recoded, m->size * 3 + m->size / 8 + 65536);
	rc = recode_to_7bit(str_n(m->content, (size_t)m->size), arena,
	    &m->recoded);
	arena_free(&arena);
	if (rc < 0) {
		buf_fini(&m->recoded);
		errno = ENOMEM;
	}
	return rc;
}

int message_as_7bit(struct message *m, bool yes, const char **why_r)
{
	if (yes && m->recoded.p == NULL && recode(m, why_r) < 0)
		return -1;
	m->use_recoded = yes;
	message_rewind(m);
	return 0;
}

int message_scan(struct message *m)
{
	char buf[8192];
	bool in_header = true;
	bool line_empty = true; /* so far */
	struct str piece;
	int rc;

	if (m->scanned)
		return 0;
	message_rewind(m);
	while ((rc = message_next(m, buf, sizeof(buf), &piece)) > 0) {
		for (size_t i = 0; i < piece.n; i++) {
			char c = piece.p[i];

			if ((unsigned char)c > 127) {
				m->has_8bit = true;
				m->header_8bit |= in_header;
			}
			/* the header ends at the first empty line */
			if (c == '\n') {
				in_header &= !line_empty;
				line_empty = true;
			} else if (c != '\r') {
				line_empty = false;
			}
		}
	}
	m->scanned = rc == 0;
	message_rewind(m);
	return rc;
}
