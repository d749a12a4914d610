/* known.c - names that sites use and that have no row */
#include "config/internal.h"

static const struct known table[] = {
#define HARMLESS(name, off, remedy) { name, KNOWN_HARMLESS, off, remedy },
#define POLICY(name, off, remedy) { name, KNOWN_POLICY, off, remedy },
#define MOVED(name, off, remedy) { name, KNOWN_MOVED, off, remedy },
#include "config/unsupported.def"
#undef HARMLESS
#undef POLICY
#undef MOVED
};

const struct known *known_find(struct str name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct str known = str_of(table[i].name);

		if (str_eq(name, known))
			return &table[i];
		if (known.p[known.n - 1] == '*' &&
		    str_starts(name, str_sub(known, 0, known.n - 1)))
			return &table[i];
	}
	return NULL;
}

/* What may be set for one transport, and with what suffix. */
static const char *const transport_suffixes[] = {
	"_destination_concurrency_limit", "_destination_recipient_limit",
	"_initial_destination_concurrency",
};

bool known_is_transport_parameter(struct str name, struct str *transport_r,
    const char **suffix_r)
{
	for (size_t i = 0; i < sizeof(transport_suffixes) /
	    sizeof(transport_suffixes[0]); i++) {
		struct str suffix = str_of(transport_suffixes[i]);

		if (name.n > suffix.n && str_ends(name, suffix)) {
			*transport_r = str_sub(name, 0, name.n - suffix.n);
			*suffix_r = transport_suffixes[i];
			return true;
		}
	}
	return false;
}
