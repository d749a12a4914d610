#include <stddef.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unbound.h>
#include <unbound-event.h>
#include "base/clock.h"
#include "base/log.h"
#include "dns/ubloop.h"

typedef void event_fn(int fd, short bits, void *arg);

struct base {
	struct ub_event_base ub; /* first: libunbound knows only this */
	struct loop *loop;
};

/*
 * One event of libunbound: a descriptor, a timeout, or both. Active means
 * that the watch or the timer below is set. An event that is not PERSIST is
 * inactive before its callback runs, as in libevent, whose contract this is.
 */
struct event {
	struct ub_event ub; /* first */
	struct base *base;
	int fd;
	short bits;
	event_fn *fn;
	void *arg;
	struct watch *watch;
	struct timer *timer;
	int64_t timeout; /* microseconds; re-armed when PERSIST; -1 none */
};

static struct base *base_of(struct ub_event_base *b)
{
	return (struct base *)b;
}

static struct event *event_of(struct ub_event *e)
{
	return (struct event *)e;
}

static void deactivate(struct event *e)
{
	watch_free(&e->watch);
	if (e->timer != NULL)
		timer_stop(e->timer);
	e->timeout = -1;
}

static void fire(struct event *e, short bits)
{
	if (!(e->bits & UB_EV_PERSIST))
		deactivate(e);
	else if (e->timeout >= 0)
		timer_in(e->timer, e->timeout);
	/* The callback may free the event: nothing of it is touched after. */
	e->fn(e->fd, bits, e->arg);
}

static void ready(int fd, unsigned what, void *ctx)
{
	short bits = 0;

	(void)fd;
	if (what & LOOP_READ)
		bits |= UB_EV_READ;
	if (what & LOOP_WRITE)
		bits |= UB_EV_WRITE;
	fire(ctx, bits);
}

static void timed_out(void *ctx)
{
	fire(ctx, UB_EV_TIMEOUT);
}

static int64_t to_us(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * CLOCK_SECOND + tv->tv_usec;
}

static int activate(struct event *e, const struct timeval *tv)
{
	unsigned want = (e->bits & UB_EV_READ ? LOOP_READ : 0u) |
	    (e->bits & UB_EV_WRITE ? LOOP_WRITE : 0u);

	if (want != 0 && e->fd >= 0 && e->watch == NULL) {
		e->watch = watch_new(e->base->loop, e->fd, want, ready, e);
		if (e->watch == NULL)
			return -1;
	}
	if (tv == NULL)
		return 0;
	e->timeout = to_us(tv);
	if (e->timer == NULL)
		e->timer = timer_new(e->base->loop, timed_out, e);
	if (e->timer == NULL) {
		watch_free(&e->watch);
		return -1;
	}
	timer_in(e->timer, e->timeout);
	return 0;
}

static void ev_add_bits(struct ub_event *ue, short bits)
{
	event_of(ue)->bits |= bits;
}

static void ev_del_bits(struct ub_event *ue, short bits)
{
	event_of(ue)->bits &= (short)~bits;
}

static void ev_set_fd(struct ub_event *ue, int fd)
{
	event_of(ue)->fd = fd;
}

static void ev_free(struct ub_event *ue)
{
	struct event *e = event_of(ue);

	deactivate(e);
	timer_free(&e->timer);
	free(e);
}

static int ev_add(struct ub_event *ue, struct timeval *tv)
{
	return activate(event_of(ue), tv);
}

static int ev_del(struct ub_event *ue)
{
	deactivate(event_of(ue));
	return 0;
}

static int ev_add_timer(struct ub_event *ue, struct ub_event_base *base,
    void (*fn)(int, short, void *), void *arg, struct timeval *tv)
{
	struct event *e = event_of(ue);

	deactivate(e);
	e->base = base_of(base);
	e->fn = fn;
	e->arg = arg;
	e->bits = UB_EV_TIMEOUT;
	e->fd = -1;
	return activate(e, tv);
}

static int no_signal(struct ub_event *ue, struct timeval *tv)
{
	(void)ue;
	(void)tv;
	return -1;
}

static int no_signal_del(struct ub_event *ue)
{
	(void)ue;
	return -1;
}

static void no_winsock(struct ub_event *ue)
{
	(void)ue;
}

static void no_winsock_block(struct ub_event *ue, int bit)
{
	(void)ue;
	(void)bit;
}

static struct ub_event_vmt event_vmt = {
	.add_bits = ev_add_bits,
	.del_bits = ev_del_bits,
	.set_fd = ev_set_fd,
	.free = ev_free,
	.add = ev_add,
	.del = ev_del,
	.add_timer = ev_add_timer,
	.del_timer = ev_del,
	.add_signal = no_signal,
	.del_signal = no_signal_del,
	.winsock_unregister_wsaevent = no_winsock,
	.winsock_tcp_wouldblock = no_winsock_block,
};

static struct ub_event *base_new_event(struct ub_event_base *b, int fd,
    short bits, void (*fn)(int, short, void *), void *arg)
{
	struct event *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->ub.magic = UB_EVENT_MAGIC;
	e->ub.vmt = &event_vmt;
	e->base = base_of(b);
	e->fd = fd;
	e->bits = bits;
	e->fn = fn;
	e->arg = arg;
	e->timeout = -1;
	return &e->ub;
}

static struct ub_event *base_no_signal(struct ub_event_base *b, int fd,
    void (*fn)(int, short, void *), void *arg)
{
	(void)b;
	(void)fd;
	(void)fn;
	(void)arg;
	return NULL;
}

static struct ub_event *base_no_winsock(struct ub_event_base *b, void *wsa,
    void (*fn)(int, short, void *), void *arg)
{
	(void)b;
	(void)wsa;
	(void)fn;
	(void)arg;
	return NULL;
}

static void base_free(struct ub_event_base *b)
{
	(void)b; /* ubloop_free() does it; libunbound never calls this */
}

static int base_dispatch(struct ub_event_base *b)
{
	(void)b; /* our loop is run by its owner */
	return 0;
}

static int base_loopexit(struct ub_event_base *b, struct timeval *tv)
{
	(void)b;
	(void)tv;
	return 0;
}

static struct ub_event_base_vmt base_vmt = {
	.free = base_free,
	.dispatch = base_dispatch,
	.loopexit = base_loopexit,
	.new_event = base_new_event,
	.new_signal = base_no_signal,
	.winsock_register_wsaevent = base_no_winsock,
};

struct ub_event_base *ubloop_new(struct loop *loop)
{
	struct base *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->ub.magic = UB_EVENT_MAGIC;
	b->ub.vmt = &base_vmt;
	b->loop = loop;
	return &b->ub;
}

void ubloop_free(struct ub_event_base **bp)
{
	free(*bp);
	*bp = NULL;
}
