/*
 * hostile.c - a program of the suite that somebody took over
 *
 * Stands in a folder of programs under the name of one of them; beside it is
 * the true one as NAME.real, and a file "hostile.when" with the parameter
 * ("name=value") that tells the processes to be played: others of the same
 * program become the true one. With a file "hostile.one" it is only the first
 * of them. It takes its start as every program does,
 * enters the walls of its row, and then does to each server that it has an
 * edge to what it likes:
 *
 *   garbled     conversations with messages of every kind, whole and damaged,
 *               in any order, with any descriptors, read or not
 *   junk        what is no conversation, over the edge
 *   many        as many conversations at once as it can have
 *   entangled   a server's end whose options it changes
 *   shut        its end of the edge shut down
 *   stock       as cleanup: queue files without end, commits of what it has
 *               not or has not written, to places without end
 *
 * A cleanup leaves the edges alone, whose ends it shares with its siblings,
 * and ends each conversation of its clients. It logs "hostile: SERVER: N
 * conversations, N packets, N answers, N at once, N refused" and at last
 * "hostile: done".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "msgs/agent.h"
#include "msgs/auth.h"
#include "msgs/control.h"
#include "msgs/deliver.h"
#include "msgs/dns.h"
#include "msgs/keys.h"
#include "msgs/launch.h"
#include "msgs/limits.h"
#include "msgs/lookup.h"
#include "msgs/queue.h"
#include "msgs/stdio.h"
#include "msgs/stock.h"
#include "msgs/submit.h"
#include "service/sandbox.h"
#include "service/service.h"
#include "service/spawn.h"
#include "tests/tools/garble.h"

#define CONVERSATIONS 400
#define MANY 4000
#define SOON (clock_now() + 30 * CLOCK_SECOND)

static const struct msg_schema *const kinds[] = { &submit_begin_schema,
	&submit_rcpts_schema, &submit_data_schema, &submit_reply_schema,
	&resolve_request_schema, &expand_request_schema,
	&alias_request_schema, &verify_request_schema, &user_request_schema,
	&mailbox_request_schema, &limits_request_schema,
	&sign_request_schema, &dns_question_schema, &stock_want_schema,
	&stock_commit_schema, &stock_return_schema, &agent_hello_schema,
	&agent_result_schema, &agent_running_schema, &agent_present_schema,
	&queue_list_schema, &queue_order_schema, &queue_show_schema,
	&launch_request_schema, &stdio_session_schema,
	&deliver_request_schema };
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Which of them that server takes: from, to (exclusive). */
static const struct target {
	const char *server;
	size_t from, to;
	const char *client;	/* NULL: any */
} targets[] = {
	{ "cleanup", 0, 3, NULL }, { "lookup", 4, 7, NULL },
	{ "auth", 7, 10, NULL }, { "limits", 10, 11, NULL },
	{ "keys", 11, 12, NULL }, { "dns", 12, 13, NULL },
	{ "qmgr", 13, 16, "cleanup" }, { "qmgr", 16, 20, "local" },
	{ "qmgr", 13, 20, "smtp" }, { "smtpd", 24, 25, NULL },
};

static char program[64];

static uint64_t state = 88172645463325252u;

/* xorshift64: the same attack every time. */
static uint64_t draw(void *ctx, uint64_t max)
{
	(void)ctx;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return max == UINT64_MAX ? state : (state >> 8) % (max + 1);
}

static int own[4];	/* descriptors to send along */

static int descriptor(void *ctx)
{
	return own[draw(ctx, 3)];
}

static void make_descriptors(void)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM |
	    SOCK_CLOEXEC, 0, own + 2) < 0)
		log_fatal("descriptors: %s", strerror(errno));
	own[0] = pair[0];
	own[1] = pair[1];
}

static int send_raw(int fd, const void *p, size_t n, const int *fds,
    size_t nfds)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * 64)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd room = { fd, POLLOUT, 0 };

	memset(&control, 0, sizeof(control));
	if (nfds > 0) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * nfds);
	}
	if (poll(&room, 1, 200) <= 0)
		return -1;
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

static struct {
	size_t conversations, packets, answers, at_once, refused;
} count;

static void listen_a_while(int fd, int ms)
{
	static char answer[MSG_MAX];
	struct pollfd p = { fd, POLLIN, 0 };

	while (poll(&p, 1, ms) > 0 &&
	    recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0) {
		count.answers++;
		ms = 0;
	}
}

static void garbled(struct edge *e, const struct target *t)
{
	static struct buf out;
	struct garble g = { .draw = draw, .descriptor = descriptor };
	struct conv *c = edge_open_fresh(e, SOON);
	size_t n = draw(NULL, 12);

	if (c == NULL)
		return;
	if (out.max == 0)
		buf_init(&out, 2 * MSG_MAX);
	g.arena = arena_new(4 << 20);
	count.conversations++;
	for (size_t i = 0; g.arena != NULL && i < n; i++) {
		const struct msg_schema *kind = draw(NULL, 7)
		    ? kinds[t->from + draw(NULL, t->to - t->from - 1)]
		    : kinds[draw(NULL, KINDS - 1)];
		int fds[MSG_FD_MAX];
		size_t nfds = 0;

		buf_reset(&out);
		arena_reset(g.arena);
		if (garble_packet(&g, kind, &out, fds, &nfds) < 0)
			continue;
		if (!draw(NULL, 31) && nfds < MSG_FD_MAX)
			fds[nfds++] = descriptor(NULL);
		if (send_raw(conv_fd(c), out.p, out.n, fds, nfds) < 0)
			break;
		count.packets++;
		if (draw(NULL, 1))
			listen_a_while(conv_fd(c), draw(NULL, 7) ? 2 : 40);
	}
	listen_a_while(conv_fd(c), 0);
	arena_free(&g.arena);
	conv_close(&c);
}

/* Our ends of edges are the sockets that never wait (master made them so). */
static void each_edge_end(void (*act)(int fd))
{
	int ends[256];
	size_t count_ends = 0;

	for (int fd = 4; fd < 256; fd++) {
		int type = 0, flags = fcntl(fd, F_GETFL);
		socklen_t n = sizeof(type);

		if (flags >= 0 && (flags & O_NONBLOCK) &&
		    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 &&
		    type == SOCK_SEQPACKET)
			ends[count_ends++] = fd;
	}
	/* not those that this makes */
	for (size_t i = 0; i < count_ends; i++)
		act(ends[i]);
}

static void junk(int fd)
{
	int fds[64], failed = 0;

	for (size_t i = 0; i < 64; i++)
		fds[i] = own[i % 4];
	/* An empty packet is the end: then nobody takes the next ones. */
	for (int i = 0; i < 200 && failed < 5; i++) {
		size_t nfds = (size_t)draw(NULL, 60);

		if (send_raw(fd, fds, (size_t)draw(NULL, sizeof(fds)), fds,
		    draw(NULL, 3) ? nfds % 3 : nfds) == 0) {
			count.packets++;
			failed = 0;
		} else {
			failed++;
		}
	}
}

static void many(struct edge *e)
{
	static struct conv *held[MANY];
	size_t n = 0;

	while (n < MANY && (held[n] = edge_open_fresh(e, SOON)) != NULL)
		n++;
	count.at_once = n;
	count.conversations += n;
	/* The last one is looked at when all of them were. */
	for (size_t i = n; i-- > 0;) {
		struct pollfd p = { conv_fd(held[i]), POLLIN, 0 };

		count.refused += poll(&p, 1, i + 1 == n ? 10000 : 0) > 0;
	}
	for (size_t i = 0; i < n; i++)
		conv_close(&held[i]);
}

/* The pair is ours: the server's end, too, while it serves there. */
static void entangled(int edge)
{
	const struct timeval least = { 0, 1 };
	const int small = 1;

	for (int i = 0; i < 20; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
		    pair) < 0 || send_raw(edge, "c", 1, pair + 1, 1) < 0)
			return;
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
		setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &least,
		    sizeof(least));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small,
		    sizeof(small));
		setsockopt(pair[1], SOL_SOCKET, SO_RCVBUF, &small,
		    sizeof(small));
		if (i % 4 == 1)
			shutdown(pair[1], SHUT_RDWR);
		/* both stay open until we are gone */
	}
}

/* --- as cleanup ------------------------------------------------------- */

#define FILES 20000		/* more than it may have */
#define KEPT 200		/* of these it keeps the descriptor */
#define PATIENCE (5 * CLOCK_SECOND)
#define PLACES 1000		/* next hops of one message */

static struct {
	char ids[FILES][64];
	size_t n;
	int kept[KEPT];
	size_t nkept, told;
} stock;

static int tell(struct conv *c, const struct msg_schema *kind, const void *m)
{
	const char *why;

	if (conv_send(c, kind, m, clock_now() + PATIENCE, &why) < 0)
		return -1;
	stock.told++;
	return 0;
}

static int take_one(struct conv *c)
{
	const struct msg_schema *allowed[] = { &stock_file_schema }, *kind;
	struct stock_file f;
	const char *why;

	if (conv_recv(c, allowed, 1, &kind, &f, clock_now() + PATIENCE,
	    &why) != CONV_MESSAGE)
		return -1;
	if (str_to_c(f.queue_id, stock.ids[stock.n], 64) == 0)
		stock.n++;
	if (stock.nkept < KEPT)
		stock.kept[stock.nkept++] = f.fd;
	else
		close(f.fd);
	return 0;
}

static void hoard(struct conv *c)
{
	struct stock_want want = { 1024 };

	do {
		if (tell(c, &stock_want_schema, &want) < 0)
			return;
	} while (stock.n < FILES && take_one(c) == 0);
}

/* Nothing is in that file. */
static void commit(struct conv *c, const char *id, const char *transport,
    size_t places)
{
	static char text[PLACES][64];
	static struct str rcpts[PLACES], transports[PLACES], hops[PLACES],
	    none[PLACES];
	static uint64_t notify[PLACES];
	struct stock_commit m = { .queue_id = str_of(id),
		.sender = STR("s@hostile.test"), .arrival = clock_wall(),
		.rcpts = { rcpts, places }, .originals = { none, places },
		.transports = { transports, places },
		.nexthops = { hops, places }, .orcpts = { none, places },
		.notify = { notify, places }, .more = places == 0 };

	for (size_t i = 0; i < places; i++) {
		snprintf(text[i], sizeof(text[i]), "h%zu.%s.invalid", i, id);
		rcpts[i] = STR("r@hostile.test");
		transports[i] = str_of(transport);
		hops[i] = str_of(text[i]);
		notify[i] = NOTIFY_NEVER;
	}
	tell(c, &stock_commit_schema, &m);
}

static void claim(struct conv *c)
{
	char text[64];

	for (size_t i = 0; i < stock.n && i < 1500; i++) {
		snprintf(text, sizeof(text), "place%zu", i);
		commit(c, stock.ids[i], i % 3 ? text : "bounce", 1);
	}
	for (size_t i = 1500; i < stock.n && i < 1504; i++)
		commit(c, stock.ids[i], "smtp", PLACES);
	/* those of others, or of nobody */
	for (size_t i = 0; i < 1500 && stock.n > 0; i++) {
		struct stock_return m = { str_of(text) };

		snprintf(text, sizeof(text), "%s", stock.ids[0]);
		text[i % strlen(text)] = (char)('0' + i % 8);
		commit(c, text, "local", i % 2);
		tell(c, &stock_return_schema, &m);
	}
	/* held as ever */
	for (size_t i = 0; i < 4000 && stock.n > 0; i++) {
		struct stock_return m = {
			str_of(stock.ids[i % (stock.nkept + 1)]) };

		tell(c, &stock_return_schema, &m);
	}
}

static void attack_stock(struct edge *e)
{
	struct conv *c = edge_open_fresh(e, SOON);

	if (c == NULL)
		return;
	hoard(c);
	claim(c);
	log_info("hostile: stock: %zu files, %zu told", stock.n, stock.told);
	conv_close(&c);
	while (stock.nkept > 0)
		close(stock.kept[--stock.nkept]);
}

static void shut(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void attack(void *arg)
{
	size_t n = sizeof(targets) / sizeof(targets[0]);

	(void)arg;
	make_descriptors();
	for (size_t i = 0; i < n; i++) {
		struct edge *e = service_edge(targets[i].server);

		if (e == NULL || (targets[i].client != NULL &&
			strcmp(targets[i].client, program) != 0))
			continue;
		memset(&count, 0, sizeof(count));
		for (int k = 0; k < CONVERSATIONS; k++)
			garbled(e, &targets[i]);
		many(e);
		log_info("hostile: %s: %zu conversations, %zu packets, "
		    "%zu answers, %zu at once, %zu refused",
		    targets[i].server, count.conversations, count.packets,
		    count.answers, count.at_once, count.refused);
	}
	if (strcmp(program, "cleanup") == 0) {
		attack_stock(service_edge("qmgr"));
	} else {
		each_edge_end(junk);
		each_edge_end(entangled);
		each_edge_end(shut);
	}
	log_info("hostile: done");
}

static void session(int fd, const struct service_client *from)
{
	(void)from;
	close(fd);
}

static void converse(struct conv *c, const char *client)
{
	(void)client;
	conv_close(&c);
}

static int ready(struct loop *loop)
{
	(void)loop;
	return service_thread(attack, NULL);
}

static bool is_wanted(const char *folder, const struct control_start *start)
{
	char path[4200], wanted[80];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/hostile.when", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, wanted, sizeof(wanted));
	if (n < 0)
		log_fatal("%s: %s", path, strerror(errno));
	close(fd);
	for (size_t i = 0; i < start->params.n; i++)
		if (str_eq(start->params.v[i], str_n(wanted, (size_t)n)))
			return true;
	return n == 0;
}

static bool is_first(const char *folder)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/hostile.one", folder);
	if (access(path, F_OK) < 0)
		return true;
	snprintf(path, sizeof(path), "%s/hostile.taken", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		log_fatal("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The first message tells who is wanted; it stays for who will be that. */
static void choose(const char *folder)
{
	static char wire[MSG_MAX];
	ssize_t n = recv(SPAWN_CONTROL_FD, wire, sizeof(wire), MSG_PEEK);
	struct arena *arena = arena_new(1 << 20);
	struct control_start start;
	char path[4200];
	const char *why;

	if (n <= 0 || arena == NULL || msg_decode(&control_start_schema,
	    str_n(wire, (size_t)n), NULL, 0, arena, &start, &why) < 0 ||
	    str_to_c(start.program, program, sizeof(program)) < 0)
		log_fatal("no start");
	if (!is_wanted(folder, &start) || !is_first(folder)) {
		snprintf(path, sizeof(path), "%s/%s.real", folder, program);
		execl(path, program, (char *)NULL);
		log_fatal("%s: %s", path, strerror(errno));
	}
	arena_free(&arena);
}

int main(int argc, char **argv)
{
	char folder[4096];
	struct service service = { .session = session, .ready = ready,
		.converse = converse };
	ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);

	folder[n > 0 ? n : 0] = '\0';
	*(strrchr(folder, '/') ? strrchr(folder, '/') : folder) = '\0';
	choose(folder);
	service.name = program;
	return service_main(argc, argv, &service);
}
