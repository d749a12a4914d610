#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cleanup/stock.h"
#include "service/service.h"

/* Files held when nothing happens, and fewest before more are asked for. */
#define STOCK_SIZE 32
#define STOCK_LOW 16
#define SEND_TIMEOUT (10 * CLOCK_SECOND)
#define RETRY_DELAY_MS 200

/* What the threads of the process share, each part behind its lock. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t arrived;
	struct stock_entry files[STOCK_SIZE + 1];
	size_t nfiles, nwanted;

	pthread_mutex_t send_lock; /* conv may be replaced, not its use */
	struct conv *conv;
} stock = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.send_lock = PTHREAD_MUTEX_INITIALIZER,
};

/*
 * 0, or -1: qmgr is away, and its successor will look for itself. One that is
 * there and cannot be told (no memory for the packet) has to look as well: the
 * conversation ends, as it does when this process dies.
 */
static int tell(const struct msg_schema *schema, const void *msg)
{
	const char *why;
	int rc = -1;

	pthread_mutex_lock(&stock.send_lock);
	if (stock.conv != NULL && (rc = conv_send(stock.conv, schema, msg,
		clock_now() + SEND_TIMEOUT, &why)) < 0) {
		log_warn("qmgr cannot be told: %s", why);
		/* the thread that receives opens the next one */
		shutdown(conv_fd(stock.conv), SHUT_RDWR);
	}
	pthread_mutex_unlock(&stock.send_lock);
	return rc;
}

/* Asks for what is missing; called without locks. */
static void refill(void)
{
	struct stock_want want = { 0 };

	pthread_mutex_lock(&stock.lock);
	if (stock.nfiles + stock.nwanted <= STOCK_LOW) {
		want.files = STOCK_SIZE - stock.nfiles - stock.nwanted;
		stock.nwanted += want.files;
	}
	pthread_mutex_unlock(&stock.lock);
	if (want.files > 0)
		tell(&stock_want_schema, &want);
}

static void take_file(const struct stock_file *f)
{
	struct stock_entry e = { .fd = f->fd };

	if (f->fd < 0 || queue_id_parse(f->queue_id, &e.id) < 0) {
		log_warn("qmgr sent no queue file");
		if (f->fd >= 0)
			sys_close(f->fd);
		return;
	}
	queue_id_text(e.id, e.text);
	pthread_mutex_lock(&stock.lock);
	stock.nwanted -= stock.nwanted > 0;
	if (stock.nfiles <= STOCK_SIZE) {
		stock.files[stock.nfiles++] = e;
		e.fd = -1;
	}
	pthread_cond_signal(&stock.arrived);
	pthread_mutex_unlock(&stock.lock);
	if (e.fd >= 0)
		stock_give_back(&e); /* more than was wanted */
}

static void replace_conv(struct conv *c)
{
	struct conv *old;

	pthread_mutex_lock(&stock.send_lock);
	old = stock.conv;
	stock.conv = c;
	pthread_mutex_unlock(&stock.send_lock);
	if (old != NULL)
		conv_close(&old);
	pthread_mutex_lock(&stock.lock);
	stock.nwanted = 0; /* a new qmgr knows of no wishes */
	pthread_mutex_unlock(&stock.lock);
}

static void receive(struct conv *c)
{
	static const struct msg_schema *const allowed[] = {
		&stock_file_schema
	};

	for (;;) {
		const struct msg_schema *schema;
		struct stock_file f;
		const char *why;

		switch (conv_recv(c, allowed, 1, &schema, &f, CLOCK_NEVER,
		    &why)) {
		case CONV_MESSAGE:
			take_file(&f);
			break;
		case CONV_BROKEN:
			log_warn("qmgr: %s", why);
			return;
		default:
			return;
		}
	}
}

/* The thread: one conversation after the other, as qmgr comes and goes. */
static void speak_to_qmgr(void *arg)
{
	struct edge *edge = service_edge("qmgr");

	(void)arg;
	if (edge == NULL)
		log_fatal("no edge to qmgr");
	for (;;) {
		struct conv *c =
		    edge_open_fresh(edge, clock_now() + SEND_TIMEOUT);

		if (c != NULL) {
			replace_conv(c);
			refill();
			receive(c);
			replace_conv(NULL);
		}
		nanosleep(&(struct timespec){ .tv_nsec =
			      RETRY_DELAY_MS * 1000000L }, NULL);
	}
}

int stock_start(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stock.arrived, &attr);
	pthread_condattr_destroy(&attr);
	return service_thread(speak_to_qmgr, NULL);
}

int stock_take(struct stock_entry *e, int64_t deadline)
{
	struct timespec until = { .tv_sec = deadline / CLOCK_SECOND,
		.tv_nsec = deadline % CLOCK_SECOND * 1000 };
	int rc = 0;

	pthread_mutex_lock(&stock.lock);
	while (stock.nfiles == 0 && rc == 0)
		rc = pthread_cond_timedwait(&stock.arrived, &stock.lock,
		    &until);
	rc = stock.nfiles > 0 ? 0 : -1;
	if (rc == 0) { /* the oldest, so that ids come in order */
		*e = stock.files[0];
		memmove(stock.files, stock.files + 1,
		    --stock.nfiles * sizeof(stock.files[0]));
	}
	pthread_mutex_unlock(&stock.lock);
	refill();
	return rc;
}

void stock_put_back(const struct stock_entry *e)
{
	bool kept;

	pthread_mutex_lock(&stock.lock);
	if ((kept = stock.nfiles <= STOCK_SIZE))
		stock.files[stock.nfiles++] = *e;
	pthread_mutex_unlock(&stock.lock);
	if (!kept)
		stock_give_back(e);
}

void stock_give_back(const struct stock_entry *e)
{
	struct stock_return r = { str_of(e->text) };

	/* Closed first: qmgr unlinks what nobody holds. */
	sys_close(e->fd);
	tell(&stock_return_schema, &r);
}

void stock_committed(const struct stock_entry *e,
    const struct stock_commit *commit)
{
	sys_close(e->fd);
	tell(&stock_commit_schema, commit);
}
