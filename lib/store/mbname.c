#include <errno.h>
#include <stdio.h>
#include "store/mbname.h"

static int refuse(const char **why_r, int err, const char *why)
{
	if (why_r != NULL)
		*why_r = why;
	errno = err;
	return -1;
}

static const char *component_fault(struct str c)
{
	if (c.n == 0)
		return "A part of the mailbox name is empty";
	for (size_t i = 0; i < c.n; i++) {
		if (c.p[i] < 0x20 || c.p[i] > 0x7e)
			return "The mailbox name has an octet that is not "
			    "printable US-ASCII";
		/* '/' is the file system's, '*' and '%' are LIST's. */
		if (c.p[i] == '/' || c.p[i] == '*' || c.p[i] == '%')
			return "A mailbox name has no '/', '*' or '%'";
	}
	return NULL;
}

int mbname_parse(struct str wire, struct mbname *out, const char **why_r)
{
	struct str rest = wire, part;
	const char *fault;
	size_t depth = 0;

	if (wire.n == 0)
		return refuse(why_r, EINVAL, "The mailbox name is empty");
	if (wire.n > MBNAME_MAX)
		return refuse(why_r, ENAMETOOLONG,
		    "The mailbox name is too long");
	while (str_split(&rest, '.', &part)) {
		if ((fault = component_fault(part)) != NULL)
			return refuse(why_r, EINVAL, fault);
		if (++depth > MBNAME_DEPTH_MAX)
			return refuse(why_r, ENAMETOOLONG,
			    "The mailbox name has too many parts");
	}
	/* RFC 3501 5.1.3: only the canonical form is a name, or one mailbox
	 * would have several. */
	if (!mutf7_is_canonical(wire))
		return refuse(why_r, EINVAL,
		    "The mailbox name is not in modified UTF-7");
	memcpy(out->name, wire.p, wire.n);
	out->name[wire.n] = '\0';
	out->n = wire.n;
	/* RFC 3501 5.1: INBOX in any case is INBOX. */
	part = str_sub(wire, 0, 5);
	if (str_eq_nocase_c(part, "INBOX") &&
	    (wire.n == 5 || wire.p[5] == '.'))
		memcpy(out->name, "INBOX", 5);
	out->inbox = wire.n == 5 && str_eq_nocase_c(part, "INBOX");
	snprintf(out->dir, sizeof(out->dir), ".%s",
	    out->inbox ? "" : out->name);
	return 0;
}

int mbname_from_dir(const char *entry, struct mbname *out)
{
	if (entry[0] != '.' || mbname_parse(str_of(entry + 1), out, NULL) < 0)
		return -1;
	/* ".INBOX" and ".inbox.x" would be second names of others. */
	return out->inbox || strcmp(out->name, entry + 1) != 0 ? -1 : 0;
}

bool mbname_is_below(struct str child, struct str parent)
{
	return child.n > parent.n + 1 && str_starts(child, parent) &&
	    child.p[parent.n] == '.';
}
