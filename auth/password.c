#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "auth/password.h"
#include "base/clock.h"

/* A hash that no password has. */
#define NOBODY "$y$j9T$xSrAtWlVxpOe3bhrHAvZm0$" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* Slow hashes keep a processor busy; more of them than processors would make
 * everybody wait longer. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t free;
	unsigned idle;
} workers = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.free = PTHREAD_COND_INITIALIZER, .idle = 2 };

void password_set_workers(unsigned count)
{
	workers.idle = count > 0 ? count : 1;
}

static int take_worker(int64_t deadline)
{
	int64_t us = clock_wall() + (deadline - clock_now());
	struct timespec ts = { .tv_sec = us / CLOCK_SECOND,
		.tv_nsec = us % CLOCK_SECOND * 1000 };
	int r = 0;

	pthread_mutex_lock(&workers.lock);
	while (workers.idle == 0 && r == 0)
		r = pthread_cond_timedwait(&workers.free, &workers.lock, &ts);
	if (workers.idle > 0) {
		workers.idle--;
		r = 0;
	}
	pthread_mutex_unlock(&workers.lock);
	return r == 0 ? 0 : -1;
}

static void give_worker(void)
{
	pthread_mutex_lock(&workers.lock);
	workers.idle++;
	pthread_cond_signal(&workers.free);
	pthread_mutex_unlock(&workers.lock);
}

static enum password_result check_crypt(struct str stored,
    struct str password, int64_t deadline)
{
	char setting[CRYPT_OUTPUT_SIZE], phrase[CRYPT_MAX_PASSPHRASE_SIZE + 1];
	struct crypt_data *data;
	const char *got;
	enum password_result r = PASSWORD_WRONG;

	if (str_to_c(stored, setting, sizeof(setting)) != 0 ||
	    str_to_c(password, phrase, sizeof(phrase)) != 0)
		return PASSWORD_WRONG;
	/* 32 kilobytes: not for a thread's stack. */
	if ((data = calloc(1, sizeof(*data))) == NULL)
		return PASSWORD_BUSY;
	if (take_worker(deadline) != 0) {
		free(data);
		return PASSWORD_BUSY;
	}
	got = crypt_rn(phrase, setting, data, sizeof(*data));
	give_worker();
	/* NULL: a setting that it does not know. */
	if (got != NULL && got[0] != '*' && stored.n > 0 &&
	    str_eq_secret(str_of(got), stored))
		r = PASSWORD_RIGHT;
	explicit_bzero(phrase, sizeof(phrase));
	explicit_bzero(data, sizeof(*data));
	free(data);
	return r;
}

/* Takes "{SCHEME}" off the front; false when there is none. */
static bool take_scheme(struct str *stored, struct str *scheme_r)
{
	ssize_t end;

	if (stored->n == 0 || stored->p[0] != '{' ||
	    (end = str_chr(*stored, '}')) < 0)
		return false;
	*scheme_r = str_sub(*stored, 1, (size_t)end - 1);
	*stored = str_from(*stored, (size_t)end + 1);
	return true;
}

static bool is_plain(struct str scheme)
{
	return str_eq_nocase_c(scheme, "PLAIN") ||
	    str_eq_nocase_c(scheme, "CLEARTEXT");
}

bool password_is_hashed(struct str stored)
{
	char setting[CRYPT_OUTPUT_SIZE];
	struct str scheme;
	int what;

	if ((take_scheme(&stored, &scheme) && is_plain(scheme)) ||
	    str_to_c(stored, setting, sizeof(setting)) != 0)
		return false;
	what = crypt_checksalt(setting);
	return what == CRYPT_SALT_OK || what == CRYPT_SALT_METHOD_LEGACY ||
	    what == CRYPT_SALT_TOO_CHEAP;
}

struct str password_cost(struct str stored)
{
	/* whose third part says how hard they are, always */
	static const char *const hard[] = { "y", "gy", "7", "2a", "2b", "2y" };
	struct str scheme, rest, name, part;
	bool counts;

	(void)take_scheme(&stored, &scheme);
	rest = stored;
	if (!str_split(&rest, '$', &part) || part.n > 0 ||
	    !str_split(&rest, '$', &name) || rest.p == NULL)
		return str_sub(stored, 0, 0);	/* DES: all alike */
	part = rest;
	(void)str_split(&rest, '$', &part);
	counts = str_starts(part, STR("rounds="));
	for (size_t i = 0; i < sizeof(hard) / sizeof(hard[0]); i++)
		counts |= str_eq_c(name, hard[i]);
	return str_sub(stored, 0, (size_t)((counts ? part.p + part.n :
	    name.p + name.n) - stored.p));
}

enum password_result password_check(struct str stored, struct str password,
    int64_t deadline)
{
	struct str scheme = STR("CRYPT");

	if (str_has_nul(password) || stored.n == 0)
		return PASSWORD_WRONG;
	if (take_scheme(&stored, &scheme) && is_plain(scheme))
		return stored.n > 0 && str_eq_secret(stored, password) ?
		    PASSWORD_RIGHT : PASSWORD_WRONG;
	if (!str_ends_nocase(scheme, STR("CRYPT")))
		return PASSWORD_UNKNOWN_SCHEME;
	return check_crypt(stored, password, deadline);
}

void password_check_nobody(struct str example, struct str password,
    int64_t deadline)
{
	(void)password_check(example.n > 0 ? example : STR(NOBODY), password,
	    deadline);
}
