/* conv_test.c - conversations with a process that an attacker took over */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "ipc/conv.h"

struct sample {
	uint64_t number;
	int64_t offset;
	bool flag;
	struct str text;
	struct strs list;
	struct nums nums;
	int fd;
};

static const struct msg_field fields[] = {
	MSG_U64(struct sample, number, 1000),
	MSG_I64(struct sample, offset),
	MSG_BOOL(struct sample, flag),
	MSG_STR(struct sample, text, 100),
	MSG_STRS(struct sample, list, 10),
	MSG_NUMS(struct sample, nums, 10),
	MSG_FD(struct sample, fd),
};
static const struct msg_schema schema =
    MSG_SCHEMA("sample", 0x7001, struct sample, fields);

static size_t open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void send_raw(int fd, const void *p, size_t n, size_t nfds)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * 32)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(null >= 0 && nfds <= 32);
	memset(&control, 0, sizeof(control));
	if (nfds > 0) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		for (size_t i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(cm) + i * sizeof(int), &null,
			    sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &mh, 0), (ssize_t)n);
	close(null);
}

static void send_fd(int to, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { (char[]){ "c" }, 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	assert_int_equal(sendmsg(to, &mh, 0), 1);
}

/* What a receiver makes of one packet. */
static enum conv_got receive_raw(const void *p, size_t n, size_t nfds)
{
	const struct msg_schema *allowed[] = { &schema }, *got;
	struct sample msg = { .fd = -1 };
	enum conv_got how;
	struct conv *c;
	const char *why;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    pair), 0);
	send_raw(pair[0], p, n, nfds);
	c = conv_new("attacker", pair[1]);
	assert_non_null(c);
	how = conv_recv(c, allowed, 1, &got, &msg,
	    clock_now() + 5 * CLOCK_SECOND, &why);
	if (how == CONV_MESSAGE) {
		/* every octet of it is ours to read */
		volatile char sum = 0;

		for (size_t i = 0; i < msg.text.n; i++)
			sum = msg.text.p[i];
		for (size_t i = 0; i < msg.list.n; i++)
			for (size_t k = 0; k < msg.list.v[i].n; k++)
				sum = msg.list.v[i].p[k];
		for (size_t i = 0; i < msg.nums.n; i++)
			sum = (char)msg.nums.v[i];
		(void)sum;
		assert_true(msg.text.n <= 100 && msg.list.n <= 10 &&
		    msg.nums.n <= 10 && msg.number <= 1000);
		msg_close_fds(&schema, &msg);
	}
	conv_close(&c);
	close(pair[0]);
	return how;
}

static void encode_sample(struct buf *out)
{
	static uint64_t numbers[] = { 1, 2, 3 };
	static struct str words[] = { { "one", 3 }, { "", 0 }, { "three", 5 } };
	struct sample msg = { 7, -7, true, STR("text"), { words, 3 },
		{ numbers, 3 }, 0 };
	int fds[MSG_FD_MAX];
	const char *why;
	size_t nfds;

	buf_init(out, MSG_MAX);
	assert_int_equal(msg_encode(&schema, &msg, out, fds, &nfds, &why), 0);
	assert_int_equal(nfds, 1);
}

static void a_packet_is_whole_or_it_is_refused(void **state)
{
	size_t before = open_descriptors();
	struct buf wire;

	(void)state;
	encode_sample(&wire);
	assert_int_equal(receive_raw(wire.p, wire.n, 1), CONV_MESSAGE);
	for (size_t n = 1; n < wire.n; n++)
		assert_int_equal(receive_raw(wire.p, n, 1), CONV_BROKEN);
	buf_append_char(&wire, '\0');
	assert_int_equal(receive_raw(wire.p, wire.n, 1), CONV_BROKEN);
	buf_fini(&wire);
	assert_int_equal(open_descriptors(), before);
}

static void descriptors_are_as_many_as_the_message_says(void **state)
{
	static const size_t counts[] = { 0, 2, MSG_FD_MAX, MSG_FD_MAX + 1,
		32 };
	size_t before = open_descriptors();
	struct buf wire;

	(void)state;
	encode_sample(&wire);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_int_equal(receive_raw(wire.p, wire.n, counts[i]),
		    CONV_BROKEN);
	buf_fini(&wire);
	assert_int_equal(open_descriptors(), before);
}

static void an_empty_packet_leaves_no_descriptors_behind(void **state)
{
	size_t before = open_descriptors();

	(void)state;
	for (size_t nfds = 0; nfds <= MSG_FD_MAX; nfds++)
		assert_int_equal(receive_raw("", 0, nfds), CONV_CLOSED);
	assert_int_equal(open_descriptors(), before);
}

static void a_packet_over_the_limit_is_refused(void **state)
{
	char *big = calloc(1, MSG_MAX + 64);
	struct buf wire;

	(void)state;
	assert_non_null(big);
	encode_sample(&wire);
	memcpy(big, wire.p, wire.n);
	assert_int_equal(receive_raw(big, MSG_MAX + 64, 1), CONV_BROKEN);
	buf_fini(&wire);
	free(big);
}

static void damaged_packets_are_refused_or_within_bounds(void **state)
{
	size_t before = open_descriptors();
	unsigned seed = 1;
	struct buf wire;

	(void)state;
	encode_sample(&wire);
	for (size_t i = 0; i < wire.n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			wire.p[i] = (char)(wire.p[i] ^ (1 << bit));
			(void)receive_raw(wire.p, wire.n, 1);
			wire.p[i] = (char)(wire.p[i] ^ (1 << bit));
		}
	for (int round = 0; round < 2000; round++) {
		char copy[512];
		size_t n = wire.n;

		assert_true(n <= sizeof(copy));
		memcpy(copy, wire.p, n);
		for (int k = 0; k < 4; k++)
			copy[2 + (size_t)rand_r(&seed) % (n - 2)] =
			    (char)(rand_r(&seed) % 3 == 0 ? 0xff :
			    rand_r(&seed));
		(void)receive_raw(copy, n, 1);
	}
	buf_fini(&wire);
	assert_int_equal(open_descriptors(), before);
}

static void make_edge(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    pair), 0);
}

static void an_edge_outlives_an_empty_packet(void **state)
{
	size_t before = open_descriptors();
	int pair[2], other[2], fd;

	(void)state;
	make_edge(pair);
	send_raw(pair[0], "", 0, 0);
	errno = 0;
	assert_int_equal(edge_accept(pair[1]), -1);
	assert_int_equal(errno, EAGAIN);
	/* files, more than one, or none, with an octet: no conversation */
	for (size_t n = 0; n <= 20; n++) {
		send_raw(pair[0], "cc", n % 3 + 1, n);
		assert_int_equal(edge_accept(pair[1]), -1);
		assert_int_equal(errno, EPROTO);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	send_fd(pair[0], other[0]);
	assert_int_equal(edge_accept(pair[1]), -1);
	assert_int_equal(errno, EPROTO);
	close(other[0]);
	close(other[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other), 0);
	send_fd(pair[0], other[0]);
	fd = edge_accept(pair[1]);
	assert_true(fd >= 0);
	close(fd);
	close(other[0]);
	close(other[1]);
	/* only when the clients are gone is it over */
	close(pair[0]);
	assert_int_equal(edge_accept(pair[1]), -1);
	assert_int_equal(errno, EPIPE);
	close(pair[1]);
	assert_int_equal(open_descriptors(), before);
}

static void an_edge_whose_client_shut_it_is_over(void **state)
{
	int pair[2];

	(void)state;
	make_edge(pair);
	shutdown(pair[0], SHUT_WR);
	/* else its server would be told of it again and again */
	assert_int_equal(edge_accept(pair[1]), -1);
	assert_int_equal(errno, EPIPE);
	close(pair[0]);
	close(pair[1]);
}

static void what_is_no_conversation_is_told_from_one(void **state)
{
	const struct msg_schema *allowed[] = { &schema }, *got;
	struct sample msg;
	const char *why;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		int fd = kind == 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) :
		    kind == 1 ? open("/dev/zero", O_RDONLY | O_CLOEXEC) :
		    open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct conv *c = conv_new("attacker", fd);

		assert_non_null(c);
		assert_int_equal(conv_recv(c, allowed, 1, &got, &msg,
		    clock_now() + CLOCK_SECOND, &why), CONV_BROKEN);
		conv_close(&c);
	}
}

/* The far end refuses, and closes with packets of ours that it did not read. */
static void the_last_word_of_one_who_left_is_heard(void **state)
{
	const struct msg_schema *allowed[] = { &schema }, *got;
	struct sample word = { .number = 552, .fd = -1 }, heard;
	struct conv *ours, *theirs;
	const char *why;
	int pair[2];

	(void)state;
	for (int waits = 0; waits < 2; waits++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET |
			SOCK_CLOEXEC, 0, pair), 0);
		ours = conv_new("ours", pair[0]);
		theirs = conv_new("theirs", pair[1]);
		assert_int_equal(conv_send(ours, &schema, &word,
		    CLOCK_NEVER, &why), 0);
		assert_int_equal(conv_send(theirs, &schema, &word,
		    CLOCK_NEVER, &why), 0);
		conv_close(&theirs);
		assert_int_equal(waits ? conv_recv(ours, allowed, 1, &got,
		    &heard, clock_now() + 5 * CLOCK_SECOND, &why)
		    : conv_try_recv(ours, allowed, 1, &got, &heard, &why),
		    CONV_MESSAGE);
		assert_int_equal(heard.number, 552);
		conv_close(&ours);
	}
}

static void a_tally_bounds_what_is_open_at_once(void **state)
{
	struct conv_tally *t = conv_tally_new(2);
	struct conv *c[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		int pair[2];

		make_edge(pair);
		close(pair[0]);
		c[i] = conv_new("client", pair[1]);
		assert_non_null(c[i]);
	}
	assert_int_equal(conv_tally_join(t, c[0]), 0);
	assert_int_equal(conv_tally_join(t, c[1]), 0);
	assert_int_equal(conv_tally_join(t, c[2]), -1);
	conv_close(&c[0]);
	assert_int_equal(conv_tally_join(t, c[2]), 0);
	conv_tally_free(&t); /* those that are open know it still */
	conv_close(&c[1]);
	conv_close(&c[2]);
}

/* CPU time is no deadline: only an endless loop would use all of it. */
static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void conversations_that_nobody_wants_are_closed(void **state)
{
	int pair[2], before;
	struct conv *c[10];
	struct edge *e;

	(void)state;
	make_edge(pair);
	e = edge_new("peer", pair[0]);
	before = (int)open_descriptors();
	for (int i = 0; i < 10; i++) {
		c[i] = edge_open_fresh(e, clock_now() + CLOCK_SECOND);
		assert_non_null(c[i]);
		close(edge_accept(pair[1]));
	}
	assert_int_equal(open_descriptors(), before + 10);
	for (int i = 0; i < 10; i++)
		conv_keep(&c[i]);
	/* they were in use until now */
	edge_tidy(e);
	assert_int_equal(open_descriptors(), before + 10);
	edge_tidy(e);
	assert_int_equal(open_descriptors(), before + 4);
	edge_tidy(e);
	assert_int_equal(open_descriptors(), before + 4);
	edge_free(&e);
	close(pair[1]);
}

static void who_shares_our_end_cannot_make_us_turn_in_circles(void **state)
{
	const struct msg_schema *allowed[] = { &schema }, *got;
	struct timeval tv = { 0, 1 };
	struct sample msg;
	const char *why;
	struct conv *c;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	c = conv_new("client", dup(pair[1]));
	/* the flag is of the open file, which both have */
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &tv,
	    sizeof(tv)), 0);
	double before = cpu_seconds();

	assert_int_equal(conv_recv(c, allowed, 1, &got, &msg,
	    clock_now() + CLOCK_SECOND, &why), CONV_TIMEOUT);
	assert_true(cpu_seconds() - before < 0.3);
	conv_close(&c);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_is_whole_or_it_is_refused),
		cmocka_unit_test(descriptors_are_as_many_as_the_message_says),
		cmocka_unit_test(an_empty_packet_leaves_no_descriptors_behind),
		cmocka_unit_test(a_packet_over_the_limit_is_refused),
		cmocka_unit_test(damaged_packets_are_refused_or_within_bounds),
		cmocka_unit_test(an_edge_outlives_an_empty_packet),
		cmocka_unit_test(an_edge_whose_client_shut_it_is_over),
		cmocka_unit_test(a_tally_bounds_what_is_open_at_once),
		cmocka_unit_test(conversations_that_nobody_wants_are_closed),
		cmocka_unit_test(
		    who_shares_our_end_cannot_make_us_turn_in_circles),
		cmocka_unit_test(what_is_no_conversation_is_told_from_one),
		cmocka_unit_test(the_last_word_of_one_who_left_is_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
