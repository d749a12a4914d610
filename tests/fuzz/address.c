/*
 * address.c - address lists of header fields (RFC 5322 3.4, 4.4)
 *
 * What was read without `invalid` is printed and read again: the same.
 */
#include "fuzz.h"
#include "mail/address.h"
#include "mail/header.h"

static void check_again(const struct mail_address *a, struct arena *arena)
{
	struct mail_address_list list;
	struct buf out;

	buf_init(&out, SIZE_MAX);
	fuzz_check(mail_address_append(&out, a->name, a->local, a->domain)
	    == 0, "print");
	for (size_t i = 0; i < out.n; i++)
		fuzz_check(out.p[i] != '\r' && out.p[i] != '\n' &&
		    out.p[i] != '\0', "more than one line printed");
	fuzz_check(mail_address_parse(buf_str(&out), arena, &list) == 0,
	    "memory");
	if (list.count != 1 || list.items[0].invalid ||
	    list.items[0].kind != MAIL_ADDRESS_MAILBOX) {
		fuzz_show("printed", buf_str(&out));
		fuzz_check(false, "not one mailbox: %u", list.count);
	}
	fuzz_check_same("local", a->local, list.items[0].local);
	fuzz_check_same("domain", a->domain, list.items[0].domain);
	/* White space in a name may be folded to one, and be trimmed. */
	if (a->name.n > 0 && !str_has_ctl(a->name))
		fuzz_check_same("name", a->name, list.items[0].name);
	buf_fini(&out);
}

static void check_list(const struct mail_address_list *list, size_t n,
    struct arena *arena)
{
	unsigned depth = 0;

	fuzz_check(list->count <= MAIL_ADDRESS_MAX, "too many");
	for (unsigned i = 0; i < list->count; i++) {
		const struct mail_address *a = &list->items[i];
		const struct str *parts[] = { &a->name, &a->route, &a->local,
			&a->domain };

		for (int k = 0; k < 4; k++) {
			fuzz_check(!str_has_nul(*parts[k]) &&
			    str_chr(*parts[k], '\n') == -1 &&
			    str_chr(*parts[k], '\r') == -1,
			    "part %d has a line end or NUL", k);
			fuzz_check(parts[k]->n <= 2 * n + 2, "longer than all");
		}
		if (a->kind == MAIL_ADDRESS_GROUP)
			fuzz_check(depth++ == 0, "a group in a group");
		else if (a->kind == MAIL_ADDRESS_GROUP_END)
			fuzz_check(depth-- == 1, "an end without a group");
		else if (!a->invalid && i < 50)
			check_again(a, arena);
		fuzz_check(!a->invalid || list->invalid, "who is invalid?");
	}
	fuzz_check(depth == 0 || list->truncated, "a group without end");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str text = fuzz_exact(str_n(p, n));
	struct arena *arena = arena_new(64 << 20);
	struct mail_address_list list;

	fuzz_budget_start();
	fuzz_check(mail_address_parse(text, arena, &list) == 0, "memory");
	fuzz_check_steps(1000, n, 2000);
	fuzz_check_heap(1000 * n + 20000);
	check_list(&list, n, arena);
	for (int resent = 0; resent < 2; resent++) {
		fuzz_check(mail_address_recipients(text, resent, arena, &list)
		    == 0, "memory");
		for (unsigned i = 0; i < list.count; i++)
			fuzz_check(list.items[i].kind == MAIL_ADDRESS_MAILBOX,
			    "a group among the recipients");
	}
	arena_free(&arena);
	fuzz_end();
	return 0;
}
