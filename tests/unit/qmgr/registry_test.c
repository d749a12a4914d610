/* Wishes of operators' threads, and the loop that heeds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "qmgr/qmgr.h"
#include "service/service.h"

/* What the service skeleton would give; nothing here asks for it. */
int service_dir(const char *role)
{
	(void)role;
	return -1;
}

int service_ask(const char *server, const struct msg_schema *request,
    const void *req, const struct msg_schema *reply, void *rep,
    int64_t timeout_us, struct conv **conv_r, const char **why_r)
{
	(void)server, (void)request, (void)req, (void)reply, (void)rep;
	(void)timeout_us, (void)conv_r, (void)why_r;
	return -1;
}

int service_thread(void (*fn)(void *), void *arg)
{
	(void)fn, (void)arg;
	return -1;
}

void service_done(void)
{
}

static void a_wish_is_the_loops_once_it_heeds_it(void **state)
{
	struct registry r;
	struct message m = { .id = 7 };

	(void)state;
	assert_int_equal(registry_init(&r), 0);
	registry_set(&r, 7, &m);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_HOLD), 1);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_EXPIRE), 1);
	/* the loop may be reading them */
	assert_int_equal(m.wish, WISH_NONE);
	assert_false(m.expire);
	registry_heed(&r, &m);
	assert_int_equal(m.wish, WISH_HOLD);
	assert_true(m.expire);
	/* who is to be removed is not put on hold instead */
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_DELETE), 1);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_HOLD), 1);
	registry_heed(&r, &m);
	assert_int_equal(m.wish, WISH_DELETE);
	registry_drop(&r, 7);
	map_free(&r.entries, NULL);
}

static void a_message_that_ends_takes_no_wish_that_is_lost(void **state)
{
	struct registry r;
	struct message m = { .id = 7 };

	(void)state;
	assert_int_equal(registry_init(&r), 0);
	registry_set(&r, 7, &m);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_REQUEUE), 1);
	registry_close(&r, &m);
	assert_int_equal(m.wish, WISH_REQUEUE);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_HOLD), -1);
	/* its file stands where it is to stand: the operator's thread has it */
	registry_drop(&r, 7);
	assert_int_equal(registry_wish(&r, 7, QUEUE_DO_HOLD), 0);
	registry_drop(&r, 7);
	map_free(&r.entries, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wish_is_the_loops_once_it_heeds_it),
		cmocka_unit_test(
		    a_message_that_ends_takes_no_wish_that_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
