#include <stdio.h>
#include "queue/id.h"

const char *queue_id_text(uint64_t id, char out[QUEUE_ID_SIZE])
{
	snprintf(out, QUEUE_ID_SIZE, "%llX", (unsigned long long)id);
	return out;
}

int queue_id_parse(struct str s, uint64_t *id_r)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > QUEUE_ID_SIZE - 1 || s.p[0] == '0')
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (ascii_is_digit(c))
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			v = v << 4 | (uint64_t)(c - 'A' + 10);
		else
			return -1;
	}
	*id_r = v;
	return 0;
}
