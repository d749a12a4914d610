#include <dirent.h>
#include <ftw.h>
#include <string.h>
#include <time.h>
#include "fixture.h"

static int setup_below(void **state, const char *dir)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/store-test-XXXXXX",
	    dir != NULL && strlen(dir) < 200 ? dir : "/tmp");
	if (mkdtemp(f->path) == NULL ||
	    (f->root = open(f->path, O_RDONLY | O_DIRECTORY)) < 0 ||
	    store_open(f->root, STR("host.example"), true, &f->store,
	    NULL) < 0)
		return -1;
	*state = f;
	return 0;
}

int fixture_setup(void **state)
{
	return setup_below(state, getenv("TMPDIR"));
}

int fixture_setup_in_memory(void **state)
{
	return setup_below(state, access("/dev/shm", W_OK) == 0 ? "/dev/shm"
	    : getenv("TMPDIR"));
}

static int remove_it(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	fault_off();
	store_close(&f->store);
	close(f->root);
	nftw(f->path, remove_it, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

void other_writes(struct fixture *f, const char *path, const char *content)
{
	int fd = openat(f->root, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)),
	    strlen(content));
	close(fd);
}

void other_renames(struct fixture *f, const char *from, const char *to)
{
	assert_int_equal(renameat(f->root, from, f->root, to), 0);
}

void other_links(struct fixture *f, const char *from, const char *to)
{
	assert_int_equal(linkat(f->root, from, f->root, to, 0), 0);
}

void other_removes(struct fixture *f, const char *path)
{
	assert_int_equal(unlinkat(f->root, path, 0), 0);
}

bool is_there(struct fixture *f, const char *path)
{
	return faccessat(f->root, path, F_OK, 0) == 0;
}

size_t entries(struct fixture *f, const char *dir)
{
	int fd = openat(f->root, dir, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

void first_entry(struct fixture *f, const char *dir, char *out,
    size_t size)
{
	int fd = openat(f->root, dir, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	struct dirent *e;

	out[0] = '\0';
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			snprintf(out, size, "%s/%s", dir, e->d_name);
	closedir(d);
}

void settle(void)
{
	/* Not for luck: the list trusts a directory only when its change is
	 * older than this, and a test wants to see it trust. */
	struct timespec ts = { 0, 80 * 1000 * 1000 };

	nanosleep(&ts, NULL);
}

void deliver(struct fixture *f, const char *mailbox, const char *text)
{
	struct delivery *d = NULL;

	assert_int_equal(delivery_open(f->store, str_of(mailbox), &d, NULL),
	    0);
	assert_int_equal(delivery_write(d, str_of(text)), 0);
	assert_int_equal(delivery_commit(&d, NULL), 0);
	assert_null(d);
}

uint32_t append(struct fixture *f, const char *mailbox, const char *text,
    uint32_t flags)
{
	struct delivery_append a = { .flags = flags,
		.date = DELIVERY_DATE_NOW };
	struct delivery *d = NULL;
	uint32_t validity, uid;

	assert_int_equal(delivery_open(f->store, str_of(mailbox), &d, NULL),
	    0);
	assert_int_equal(delivery_write(d, str_of(text)), 0);
	assert_int_equal(delivery_commit_append(&d, &a, &validity, &uid,
	    NULL), 0);
	return uid;
}

struct mailbox *select_mailbox(struct fixture *f, const char *name)
{
	struct mailbox *mb = NULL;
	const char *why = "";

	if (mailbox_open(f->store, str_of(name), MAILBOX_READWRITE, &mb,
	    &why) < 0)
		fail_msg("%s: %s (%s)", name, why, strerror(errno));
	return mb;
}

const uint32_t *seqs_to(uint32_t n)
{
	static uint32_t seqs[1000];

	assert_true(n <= 1000);
	for (uint32_t i = 0; i < n; i++)
		seqs[i] = i + 1;
	return seqs;
}

static struct {
	enum sys_op op;
	int n, err;
	bool all;
} fault;

static int inject(const struct sys_event *ev, void *ctx)
{
	(void)ctx;
	if (ev->after || ev->op != fault.op)
		return 0;
	fault.n--;
	return fault.n == 0 || (fault.n < 0 && fault.all) ? fault.err : 0;
}

void fault_on(enum sys_op op, int n, int err, bool all)
{
	fault.op = op;
	fault.n = n;
	fault.err = err;
	fault.all = all;
	sys_set_hook(inject, NULL);
}

void fault_off(void)
{
	sys_set_hook(NULL, NULL);
}
