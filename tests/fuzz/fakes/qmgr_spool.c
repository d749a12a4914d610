/* qmgr_spool.c - see qmgr.h */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "qmgr/core.h"
#include "queue/read.h"
#include "tests/fuzz/fakes/disk.h"
#include "tests/fuzz/fakes/loop.h"
#include "tests/fuzz/fakes/qmgr.h"
#include "tests/fuzz/fakes/serve.h"

#define TURNS 20000

static char root[64];

/* --- spares: 32 younger ones, which are nothing ------------------------- */

bool spool_ages;

static void age_spares(void)
{
	size_t n = 0;

	for (size_t i = 0; i < qmgr.spare_count; i++)
		if (qmgr.spares[i].fd >= 0)
			qmgr.spares[n++] = qmgr.spares[i];
	for (size_t i = 0; spool_ages && i < 32 && n < QMGR_SPARES; i++)
		qmgr.spares[n++] = (struct queue_spare){ 0, -1 };
	qmgr.spare_count = n;
}

void spool_drop_spares(void)
{
	spool_ages = false;
	age_spares();
	for (size_t i = 0; i < qmgr.spare_count; i++) {
		struct queue_name name = { qmgr.spares[i].id, QUEUE_INCOMING,
			0 };

		close(qmgr.spares[i].fd);
		fuzz_check(queue_spool_release(&qmgr.spool, &name) == 0,
		    "a spare file has no name");
		recorder_forget(&qmgr, qmgr.spares[i].id);
	}
	qmgr.spare_count = 0;
}

/* --- turns ------------------------------------------------------------- */

bool spool_collect(void)
{
	bool did = fake_disk_collect();

	age_spares();
	return did;
}

bool spool_settle(void)
{
	for (unsigned i = 0; i < TURNS; i++)
		if (!fake_disk_run(0) && !spool_collect())
			return i > 0;
	fuzz_check(false, "the disk is never idle");
	return true;
}

int __wrap_nanosleep(const struct timespec *, struct timespec *);

/*
 * An operator's thread waits: the others go on. It looks again and again; as
 * long as there is nothing to do for the others, all it would see is what it
 * saw, so that time may go on to when there is.
 */
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	int64_t us = t->tv_sec * CLOCK_SECOND + t->tv_nsec / 1000, idle;

	(void)left;
	if (!spool_settle() && (idle = fake_until_timer(CLOCK_SECOND)) > us)
		us = idle;
	fake_pass(us);
	return 0;
}

/* --- what must be on the disk ------------------------------------------- */

static int see_file(const struct queue_name *name, const char *file, void *ctx)
{
	struct queue_name *found = ctx;

	(void)file;
	if (name->id != found->id)
		return 0;
	*found = *name;
	return 1;
}

bool spool_find(uint64_t id, struct queue_name *name)
{
	*name = (struct queue_name){ .id = id };
	for (int place = 0; place < QUEUE_PLACE_COUNT; place++)
		if (queue_spool_scan(&qmgr.spool, (enum queue_place)place,
		    INT64_MAX, see_file, name) == 1)
			return true;
	return false;
}

void spool_check(const struct mail *m)
{
	struct queue_name name;
	struct queue_reader r;
	const char *why = "";
	char text[200];
	ssize_t n;
	int fd;

	fuzz_check(spool_find(m->id, &name), "message %zu is lost",
	    (size_t)(m - mails));
	fd = queue_spool_open_file(&qmgr.spool, &name, false);
	fuzz_check(fd >= 0, "message %zu cannot be opened",
	    (size_t)(m - mails));
	if (m->committed) {
		fuzz_check(queue_reader_open(&r, fd, m->id, serve_scratch,
		    &why) == 0, "message %zu: %s", (size_t)(m - mails), why);
		n = queue_reader_read(&r, text, sizeof(text));
		fuzz_check(n == (ssize_t)strlen(MAIL_CONTENT) &&
		    memcmp(text, MAIL_CONTENT, (size_t)n) == 0,
		    "message %zu is another's", (size_t)(m - mails));
	}
	close(fd);
	arena_reset(serve_scratch);
}

void spool_check_all(void)
{
	for (size_t i = 0; i < MAILS; i++)
		if (mails[i].id != 0 && mail_is_open(&mails[i]))
			spool_check(&mails[i]);
}

static int see_any(const struct queue_name *name, const char *file, void *ctx)
{
	(void)ctx;
	fuzz_check(false, "%s/%s is left", queue_place_name(name->place),
	    file);
	return 1;
}

void spool_check_empty(void)
{
	for (int place = 0; place < QUEUE_PLACE_COUNT; place++)
		queue_spool_scan(&qmgr.spool, (enum queue_place)place,
		    INT64_MAX, see_any, NULL);
}

/* --- its beginning and its end --- */

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
	nftw(root, remove_it, 16, FTW_DEPTH | FTW_PHYS);
}

/* An operator's thread is done before anything else is. */
static int run_thread(void (*fn)(void *), void *arg)
{
	fn(arg);
	return 0;
}

void spool_start(const struct params *params)
{
	fake_spawn = run_thread;
	snprintf(root, sizeof(root), "%s/postern-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fuzz_check(mkdtemp(root) != NULL, "no directory");
	atexit(clean);
	fake_dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_check(qmgr_start(&qmgr, NULL, params) == 0, "no start");
	spool_settle();
	fake_pass(3 * CLOCK_SECOND);
	spool_settle();
	fuzz_check(qmgr.ready && qmgr.grace == 0, "it is not ready");
}
