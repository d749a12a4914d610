/*
 * config.c - main.cf and master.cf, read, checked and evaluated
 *
 * The files are split at a line "master.cf". Whatever they say it ends, in
 * bounds; problems name a file and say something; what a child would be
 * given loads.
 */
#include "config/config.h"
#include "config/params.h"
#include "fuzz.h"

static void check_problems(const struct config *c)
{
	size_t n, errors = 0;
	const struct config_problem *p = config_problems(c, &n);
	struct buf line;

	buf_init(&line, SIZE_MAX);
	for (size_t i = 0; i < n; i++) {
		fuzz_check(p[i].text[0] != '\0' && p[i].file[0] != '\0',
		    "a problem without words");
		errors += p[i].is_error;
		buf_reset(&line);
		config_problem_print(&p[i], "/etc/postern", &line);
	}
	fuzz_check(errors <= config_error_count(c), "errors");
	buf_fini(&line);
}

static void check_values(const struct config *c)
{
	const struct master_service *s;
	struct arena *arena = arena_new(64 << 20);
	struct params params;
	struct str *pairs;
	size_t n, services;
	const char *why = NULL;

	for (size_t i = 0; config_nth_name(c, i) != NULL && i < 200; i++) {
		const char *name = config_nth_name(c, i);
		unsigned line;

		(void)config_value(c, name);
		fuzz_check(config_raw(c, name) != NULL, "no raw text");
		fuzz_check(config_where(c, name, &line) != NULL, "nowhere");
	}
	s = config_services(c, &services);
	for (size_t i = 0; i <= services && i < 4; i++) {
		arena_reset(arena);
		fuzz_check(config_service_values(c, i < services ? &s[i] :
		    NULL, arena, &pairs, &n) == 0, "no memory");
		/* Values that are no values are errors of the files. */
		if (params_load(&params, pairs, n, arena, &why) != 0)
			fuzz_check(config_error_count(c) > 0,
			    "no error, but a child would say: %s", why);
		if (i < services)
			fuzz_check(s[i].name != NULL && s[i].command != NULL
			    && (s[i].type != MASTER_INET || s[i].port <
			    65536), "a service");
	}
	arena_free(&arena);
}

static void check_files(struct str main_cf, struct str master_cf)
{
	const char *path;
	int dir = fuzz_directory(&path);
	struct config *c;

	fuzz_put_file("main.cf", main_cf);
	fuzz_put_file("master.cf", master_cf);
	fuzz_budget_start();
	c = config_read(dir, path, CONFIG_NO_TRUST);
	if (c == NULL)
		return;		/* its arena is full: said to be possible */
	check_problems(c);
	check_values(c);
	config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct str mark = STR("\nmaster.cf\n");
	struct str text = fuzz_exact(str_n(p, n));
	ssize_t at = str_find(text, mark);

	if (at < 0)
		check_files(text, STR(""));
	else
		check_files(str_sub(text, 0, (size_t)at + 1),
		    str_from(text, (size_t)at + mark.n));
	fuzz_end();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_mute_log();
	return 0;
}
