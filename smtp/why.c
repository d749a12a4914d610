#include <stdio.h>
#include "smtp/why.h"

void why_set(struct why *w, struct mail_status status, const char *fmt, ...)
{
	char text[WHY_TEXT_MAX + 1];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if (n > WHY_TEXT_MAX)
		n = WHY_TEXT_MAX;
	reply_clean(str_n(text, (size_t)n), w->text, sizeof(w->text));
	w->status = status;
	w->remote[0] = '\0';
	w->diagnostic[0] = '\0';
	w->nexthop_dead = false;
	w->file_damaged = false;
}

void why_reply(struct why *w, const char *host, const char *name_address,
    const struct reply *r, const char *command)
{
	struct mail_status status = r->status;

	if (reply_class(r) != 4 && reply_class(r) != 5)
		status = MAIL_STATUS(4, 5, 0);
	why_set(w, status, "host %s said: %s (in reply to %s)", name_address,
	    r->text, command);
	snprintf(w->remote, sizeof(w->remote), "%s", host);
	snprintf(w->diagnostic, sizeof(w->diagnostic), "%s", r->text);
}
