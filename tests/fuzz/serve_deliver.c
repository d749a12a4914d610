/*
 * serve_deliver.c - deliver, told by a local that was taken over where to put
 * messages
 *
 * There are walls around the process (Landlock); the code does not lean on
 * them: whatever is named, and whatever links lie there, nothing is made,
 * changed or read outside of the mail root or the home and the directory of
 * all mailboxes. What it says was delivered is there.
 */
int deliver_program_main(int, char **);
#define main deliver_program_main
#include "local/deliver_main.c"
#undef main
#include "local/deliver_maildir.c"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/fuzz/fakes/queue_file.h"
#include "tests/fuzz/fakes/serve.h"

#define ID UINT64_C(0x6925B1F30001)
#define SECRET "nobody is to read or to change this\n"

static struct params params;
static char top[64], root[80], spool[80];
static const char *home;
static int file = -1;
static unsigned sent;

const char *service_dir_arg(void)
{
	return home;
}

static void hear(struct conv *c, const struct msg_schema *schema,
    const void *msg)
{
	const struct deliver_reply *r = msg;

	(void)c;
	fuzz_check(schema == &deliver_reply_schema, "another answer");
	fuzz_check(r->status >= AGENT_SENT && r->status <= AGENT_FAILED &&
	    r->dsn.n >= 5, "status %llu", (unsigned long long)r->status);
	fuzz_check(r->content.n == 0 || memmem(r->content.p, r->content.n,
	    SECRET, sizeof(SECRET) - 1) == NULL, "it reads behind a link");
	sent += r->status == AGENT_SENT && !r->found;
}

/* Names that exist, and ways out. */
static void mend(void *ctx, const struct msg_schema *schema, void *msg)
{
	static const char *const names[] = { "", "our.test/anna", "Maildir/",
		"mbox", "link/", "link/x/", "link/secret", "/anna", "/anna/",
		"/link", "../x", "a/../../x/", "new/../../secret",
		"a/b/c/d/", "./", "..", "/../x", "our.test/link/y", "secret",
		"/home/anna" };
	static const char *const forwards[] = { "HOME=/home/anna",
		"FORWARD=.forward:link/secret:secret:../secret",
		"forward_path=$home/.forward,$home/link/secret" };
	struct deliver_request *q = msg;

	if (schema != &deliver_request_schema)
		return;
	if (fuzz_number(ctx, 7) > 0)
		q->queue_id = STR("6925B1F30001");
	if (fuzz_number(ctx, 7) > 0)
		q->what = 1 + fuzz_number(ctx, 1);
	if (fuzz_number(ctx, 7) > 0)
		q->mailbox = str_of(names[fuzz_number(ctx, 19)]);
	q->dir = fuzz_number(ctx, 7) == 0 ? q->dir : home[0] != '\0' ?
	    str_of(home) : str_of(names[fuzz_number(ctx, 19)]);
	for (size_t i = 0; i < q->environment.n; i++)
		if (fuzz_number(ctx, 3) > 0)
			q->environment.v[i] = str_of(
			    forwards[fuzz_number(ctx, 2)]);
}

static int give_file(void *ctx)
{
	return fuzz_number(ctx, 7) > 0 ? dup(file)
	    : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int remove_it(const char *name, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void clean(void)
{
	nftw(top, remove_it, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fuzz_check((f = fopen(path, "we")) != NULL &&
	    fputs(text, f) >= 0 && fclose(f) == 0, "cannot write %s", path);
}

static void link_out(const char *dir)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/link", dir);
	fuzz_check(symlink(top, path) == 0, "no link");
}

static void build(void)
{
	char path[160];

	fuzz_check(mkdir(top, 0700) == 0 && mkdir(root, 0700) == 0 &&
	    mkdir(spool, 0700) == 0, "no directories");
	put(top, "secret", SECRET);
	put(root, ".forward", "x@y.test\n");
	link_out(root);
	link_out(spool);
	snprintf(path, sizeof(path), "%s/our.test", root);
	fuzz_check(mkdir(path, 0700) == 0, "no directory");
	link_out(path);
	fake_dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fake_mailspool = home[0] == '\0' ? -1 :
	    open(spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void check_outside(void)
{
	char path[160], text[100];
	struct dirent *e;
	DIR *d = opendir(top);
	size_t n;
	FILE *f;

	fuzz_check(d != NULL, "it is gone");
	while ((e = readdir(d)) != NULL)
		fuzz_check(strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0 ||
		    strcmp(e->d_name, "root") == 0 ||
		    strcmp(e->d_name, "spool") == 0 ||
		    strcmp(e->d_name, "secret") == 0,
		    "%s is made outside", e->d_name);
	closedir(d);
	snprintf(path, sizeof(path), "%s/secret", top);
	fuzz_check((f = fopen(path, "re")) != NULL, "the file outside");
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	fuzz_check_same("the file outside", str_n(text, n), STR(SECRET));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path;

	(void)argc;
	(void)argv;
	serve_init(&params, deliver_program_main);
	file = fake_queue_file("queue", ID,
	    STR("Subject: x\r\n\r\nFrom x\r\n"));
	fuzz_directory(&path);
	snprintf(top, sizeof(top), "%s-deliver", path);
	snprintf(root, sizeof(root), "%s/root", top);
	snprintf(spool, sizeof(spool), "%s/spool", top);
	atexit(clean);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct msg_schema *const kinds[] = {
		&deliver_request_schema, &deliver_request_schema,
		&deliver_request_schema, &deliver_reply_schema, NULL };
	const struct serve s = { .client = "local", .kinds = kinds,
		.hear = hear, .mend = mend, .descriptor = give_file,
		.heap = 16 << 20 };

	home = n > 0 && p[0] & 1 ? "/home/anna" : "";
	sent = 0;
	build();
	fuzz_check(serve_program->start() == 0, "no start");
	serve_input(&s, p, n);
	check_outside();
	inboxes_free(&inboxes);
	close(fake_dir);
	if (fake_mailspool >= 0)
		close(fake_mailspool);
	clean();
	fake_forget();
	return 0;
}
