#include "keys/recognise.h"

#define RANDOMS 64
#define HASH_SHA256 32
#define HASH_SHA384 48

/* RFC 8446 4.2.3: RSASSA-PKCS1-v1_5 is for certificates and TLS 1.2 only. */
static const struct scheme {
	unsigned code;
	bool tls13;
} schemes[] = {
	{ 0x0403, true }, { 0x0503, true }, { 0x0603, true },
	{ 0x0804, true }, { 0x0805, true }, { 0x0806, true },
	{ 0x0401, false }, { 0x0501, false }, { 0x0601, false },
};

/* RFC 8422 5.1.1, RFC 7748: octets of a point; first octet of an
 * uncompressed one, 0 for any. */
static const struct curve {
	unsigned code, octets, first;
} curves[] = {
	{ 0x0017, 65, 4 },	/* secp256r1 */
	{ 0x0018, 97, 4 },	/* secp384r1 */
	{ 0x0019, 133, 4 },	/* secp521r1 */
	{ 0x001d, 32, 0 },	/* x25519 */
	{ 0x001e, 56, 0 },	/* x448 */
};

static const struct scheme *find_scheme(unsigned code)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].code == code)
			return &schemes[i];
	return NULL;
}

static bool is_certificate_verify(struct str in)
{
	static const char context[] = "TLS 1.3, server CertificateVerify";
	const size_t head = 64 + sizeof(context); /* with its NUL */

	if (in.n != head + HASH_SHA256 && in.n != head + HASH_SHA384)
		return false;
	for (size_t i = 0; i < 64; i++)
		if (in.p[i] != ' ')
			return false;
	return memcmp(in.p + 64, context, sizeof(context)) == 0;
}

static bool is_key_exchange(struct str in)
{
	const unsigned char *p = (const unsigned char *)in.p + RANDOMS;
	unsigned code;

	if (in.n < RANDOMS + 4 || p[0] != 3) /* named_curve */
		return false;
	code = (unsigned)p[1] << 8 | p[2];
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (curves[i].code == code)
			return p[3] == curves[i].octets &&
			    in.n == RANDOMS + 4 + curves[i].octets &&
			    (curves[i].first == 0 || p[4] == curves[i].first);
	return false;
}

const char *keys_recognise(unsigned scheme, struct str input)
{
	const struct scheme *s = find_scheme(scheme);

	if (s == NULL)
		return "unknown signature scheme";
	if (is_certificate_verify(input))
		return s->tls13 ? NULL : "scheme is not for TLS 1.3";
	if (is_key_exchange(input))
		return NULL;
	return "not a handshake";
}
