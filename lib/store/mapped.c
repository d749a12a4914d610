#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "store/mapped.h"

struct mapped {
	struct mapped *next;
	char *p;
	size_t n;
	int fd;
	volatile sig_atomic_t is_cut;
};

/* Those of this thread: the signal comes to the thread that read. */
static _Thread_local struct mapped *mine;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uintptr_t page;

/* Nothing follows where the file ends: zeros up to the mapping's end, so that
 * there is one fault and not one a page. */
static bool mend(struct mapped *m, uintptr_t at)
{
	uintptr_t start = (uintptr_t)m->p, end = start + m->n;

	end = (end + page - 1) & ~(page - 1);
	if (at < start || at >= end)
		return false;
	at &= ~(page - 1);
	if (mmap((void *)at, end - at, PROT_READ, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	m->is_cut = 1;
	return true;
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	int error = errno;

	(void)context;
	for (struct mapped *m = mine; m != NULL; m = m->next)
		if (info->si_code > 0 && mend(m, (uintptr_t)info->si_addr)) {
			errno = error;
			return;
		}
	/* Not of a mapping of ours: what it is without us. */
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void watch_faults(void)
{
	struct sigaction act = { .sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO };

	page = (uintptr_t)sysconf(_SC_PAGESIZE);
	sigemptyset(&act.sa_mask);
	sigaction(SIGBUS, &act, NULL);
}

struct mapped *mapped_open(int fd, size_t n)
{
	struct mapped *m = calloc(1, sizeof(*m));
	void *p;

	if (m == NULL)
		return NULL;
	pthread_once(&once, watch_faults);
	p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		free(m);
		return NULL;
	}
	*m = (struct mapped){ .next = mine, .p = p, .n = n, .fd = fd };
	mine = m;
	return m;
}

struct str mapped_str(const struct mapped *m)
{
	return str_n(m->p, m->n);
}

/* What ends inside of a page ends in zeros, without a fault. */
bool mapped_is_whole(const struct mapped *m)
{
	struct stat st;

	return m->is_cut == 0 && fstat(m->fd, &st) == 0 &&
	    (uint64_t)st.st_size >= m->n;
}

void mapped_close(struct mapped **mp)
{
	struct mapped *m = *mp, **at = &mine;

	if (m == NULL)
		return;
	while (*at != NULL && *at != m)
		at = &(*at)->next;
	if (*at != NULL)
		*at = m->next;
	munmap(m->p, m->n);
	sys_close(m->fd);
	free(m);
	*mp = NULL;
}
