/* mail_test.h - what the tests of lib/mail share */
#ifndef MAIL_TEST_H
#define MAIL_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* NULL wanted: the view must be {NULL, 0}. */
static inline void assert_str(struct str s, const char *want, const char *row)
{
	if (want == NULL ? s.p != NULL : s.p == NULL || !str_eq_c(s, want))
		fail_msg("%s: got %s\"" STR_FMT "\", not \"%s\"", row,
		    s.p ? "" : "no ", STR_ARG(s), want ? want : "(none)");
}
#endif
