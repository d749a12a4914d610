/*
 * users.c - the passwd-file of mail users
 *
 * Name, a line, then the file. Whoever is found has a directory that cannot
 * lead out of the mail root. (Which uids may be is `launch`'s to say.)
 */
#include "auth/users.h"
#include "base/log.h"
#include "fuzz.h"

static void check_user(const struct user *u)
{
	struct str dir = str_of(u->dir), part;

	fuzz_check(memchr(u->name, '\0', sizeof(u->name)) != NULL &&
	    memchr(u->hash, '\0', sizeof(u->hash)) != NULL, "ends");
	fuzz_check(!str_has_ctl(str_of(u->name)) && !str_has_ctl(dir),
	    "a control octet");
	for (const char *p = u->name; *p != '\0'; p++)
		fuzz_check(*p < 'A' || *p > 'Z', "upper case");
	if (!u->is_virtual) {
		fuzz_check(dir.n > 0 && dir.p[0] == '/', "no whole path");
		return;
	}
	fuzz_check(dir.n > 0 && dir.p[0] != '/', "not below the mail root");
	while (dir.p != NULL && str_split(&dir, '/', &part))
		fuzz_check(part.n > 0 && !str_eq_c(part, "..") &&
		    !str_eq_c(part, "."), "it leads elsewhere");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = fuzz_in(p, n);
	unsigned bits = fuzz_octet(&in);
	struct str name = fuzz_exact(fuzz_field(&in, '\n'));
	struct str text = fuzz_rest(&in);
	struct users_options o = {
		.dirfd = fuzz_directory(NULL), .path = "users",
		.mail_root = bits & 1 ? "/var/mail/vhosts" : "",
		.mail_uid = "1234:1235",
		.default_domain = bits & 2 ? "our.test" : "",
		.minimum_uid = bits & 4 ? 100 : 1,
	};
	char hash[USERS_HASH_MAX];
	struct users *users;
	struct user u;
	struct str first;

	fuzz_put_file("users", text);
	fuzz_budget_start();
	users = users_new(&o);
	fuzz_check(users != NULL, "no memory");
	if (users_find_login(users, name, &u) == USERS_YES)
		check_user(&u);
	/* Each name of the file, as it stands there. */
	for (int i = 0; i < 20 && text.p != NULL; i++) {
		struct str line;

		if (!str_split(&text, '\n', &line))
			break;
		if (!str_split(&line, ':', &first) ||
		    str_chr(first, '@') < 0)
			continue;
		if (users_find(users, first, &u) == USERS_YES)
			check_user(&u);
	}
	users_example_hash(users, hash);
	fuzz_check(memchr(hash, '\0', sizeof(hash)) != NULL, "hash");
	users_free(&users);
	fuzz_check_steps(3000, n, 50000);
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_mute_log();
	return 0;
}
