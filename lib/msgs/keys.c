#include <stdatomic.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/keys.h"

static const struct msg_field sign_request_fields[] = {
	MSG_STR(struct sign_request, key_id, 32),
	MSG_U64(struct sign_request, scheme, UINT16_MAX),
	MSG_STR(struct sign_request, input, TLS_SIGN_INPUT_MAX),
};
const struct msg_schema sign_request_schema = MSG_SCHEMA("sign_request",
    0x0b01, struct sign_request, sign_request_fields);

static const struct msg_field sign_reply_fields[] = {
	MSG_BOOL(struct sign_reply, ok),
	MSG_STR(struct sign_reply, signature, TLS_SIGNATURE_MAX),
	MSG_STR(struct sign_reply, text, 256),
};
const struct msg_schema sign_reply_schema = MSG_SCHEMA("sign_reply", 0x0b02,
    struct sign_reply, sign_reply_fields);

/* A flood of handshakes must not become a flood of lines. */
static void say_once_a_second(const char *why)
{
	static _Atomic int64_t last;
	int64_t now = clock_now(), before = atomic_load(&last);

	if (now - before >= CLOCK_SECOND &&
	    atomic_compare_exchange_strong(&last, &before, now))
		log_warn("TLS: cannot have a handshake signed: %s", why);
}

int keys_sign(void *ctx, const struct tls_sign_request *want,
    struct buf *signature_r)
{
	struct edge *edge = ctx;
	struct sign_request request = {
		.key_id = str_n(want->key_id, sizeof(want->key_id)),
		.scheme = want->scheme, .input = want->input,
	};
	struct sign_reply reply;
	int64_t deadline = clock_now() + KEYS_TIMEOUT;
	const char *why = "no edge to keys";
	struct conv *c;
	int r = -1;

	/* A kept conversation may be one of a process that is gone. */
	for (int attempt = 0; edge != NULL && attempt < 2; attempt++) {
		c = attempt == 0 ? edge_open(edge, deadline) :
		    edge_open_fresh(edge, deadline);
		if (c == NULL) {
			why = "keys does not answer";
			break;
		}
		if (conv_call(c, &sign_request_schema, &request,
		    &sign_reply_schema, &reply, deadline, &why) != 0) {
			conv_close(&c);
			continue;
		}
		if (reply.ok)
			r = buf_append(signature_r, reply.signature);
		else
			say_once_a_second("keys refused");
		conv_keep(&c);
		return r;
	}
	say_once_a_second(why);
	return -1;
}
