/*
 * crowd.c - many clients who behave badly, in one event loop
 *
 *	crowd --port N [--count N] [--from A.B.C.0] [--addresses N]
 *	    [--apart N] [--rate N] [--rcvbuf N] STEP...
 *
 * Opens `count` connections to 127.0.0.1:port, at most `rate` a second, from
 * `addresses` addresses in turn, A.B.C.1 and others each `apart` further (256:
 * each in a network of its own), and lets each go through the steps:
 *
 *	say TEXT	sends it (\r \n \0 \\ are understood; %d: its number)
 *	hear TEXT	reads until TEXT came
 *	trickle MS TEXT	from then on one octet of TEXT every MS milliseconds,
 *			again and again
 *	flood TEXT	from then on TEXT again and again, as fast as it goes
 *	deaf		reads no more (what comes stays with the kernel)
 *	stay		does nothing more but read
 *
 * Writes a line every 100 ms:
 *
 *	tried N open N ready N closed N failed N in OCTETS out OCTETS
 *
 * ready: past its last step but trickle, flood, deaf, stay. Ends with
 * standard input; then all connections are closed at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 32
#define HEARD_MAX 256
#define TICK_MS 10

enum what { SAY, HEAR, TRICKLE, FLOOD, DEAF, STAY };

struct step {
	enum what what;
	char *text;
	size_t n;
	int ms;
};

struct client {
	int fd;			/* -1: not open */
	int number;
	size_t step, at;	/* at: octets of its text that went out */
	bool connected, ready, deaf;
	int64_t next_ms;	/* trickle */
	unsigned events;
	char heard[HEARD_MAX];	/* the last octets */
	size_t nheard;
};

static struct {
	int epoll, port, rate, rcvbuf, addresses, apart;
	uint32_t from;
	struct step steps[STEPS_MAX];
	size_t nsteps;
	struct client *clients;
	int count;
	long tried, open, ready, closed, failed;
	uint64_t in, out;
} self = { .rate = 2000, .count = 1, .addresses = 200, .apart = 1,
	.from = 0x7f000300 };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void drop(struct client *c, bool was_refused)
{
	close(c->fd);
	c->fd = -1;
	self.open -= c->connected;
	self.ready -= c->ready;
	c->ready = c->connected = false;
	if (was_refused)
		self.failed++;
	else
		self.closed++;
}

static void want(struct client *c, unsigned events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (c->events == events)
		return;
	epoll_ctl(self.epoll, EPOLL_CTL_MOD, c->fd, &ev);
	c->events = events;
}

static void set_ready(struct client *c)
{
	if (!c->ready)
		self.ready++;
	c->ready = true;
}

/* Sends what it can of the text from c->at. False: the connection is over. */
static bool put(struct client *c, const char *p, size_t n)
{
	while (c->at < n) {
		ssize_t k = send(c->fd, p + c->at, n - c->at,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno == EAGAIN)
			return true;
		if (k < 0) {
			drop(c, false);
			return false;
		}
		c->at += (size_t)k;
		self.out += (uint64_t)k;
	}
	return true;
}

/* %d in a text is the client's number. */
static size_t fill_in(const struct client *c, const struct step *s,
    char *out, size_t size)
{
	const char *mark = memmem(s->text, s->n, "%d", 2);
	size_t before = mark != NULL ? (size_t)(mark - s->text) : s->n;
	int n;

	if (s->n + 16 > size)
		return 0;
	memcpy(out, s->text, before);
	if (mark == NULL)
		return before;
	n = snprintf(out + before, size - before, "%d", c->number);
	memcpy(out + before + n, mark + 2, s->n - before - 2);
	return s->n - 2 + (size_t)n;
}

/* Goes on as far as it can. */
static void advance(struct client *c)
{
	static char text[1 << 18];
	int turns = 0;

	while (c->fd >= 0 && c->step < self.nsteps) {
		struct step *s = &self.steps[c->step];
		size_t n;

		switch (s->what) {
		case SAY:
			n = fill_in(c, s, text, sizeof(text));
			if (!put(c, text, n))
				return;
			if (c->at < n) {
				want(c, (c->deaf ? 0 : EPOLLIN) | EPOLLOUT);
				return;
			}
			break;
		case HEAR:
			if (memmem(c->heard, c->nheard, s->text, s->n) ==
			    NULL) {
				want(c, EPOLLIN);
				return;
			}
			c->nheard = 0;
			break;
		case DEAF:
			c->deaf = true;
			want(c, 0);
			if (c->step + 1 == self.nsteps)
				set_ready(c);
			break;
		case STAY:
			set_ready(c);
			want(c, EPOLLIN);
			return;
		case TRICKLE:
			set_ready(c);
			want(c, c->deaf ? 0 : EPOLLIN);
			return;		/* by the clock */
		case FLOOD:
			set_ready(c);
			if (!put(c, s->text, s->n))
				return;
			if (c->at < s->n || ++turns > 16) {
				want(c, (c->deaf ? 0 : EPOLLIN) | EPOLLOUT);
				return;
			}
			c->at = 0;
			continue;
		}
		c->step++;
		c->at = 0;
	}
	if (c->fd >= 0 && !c->ready)
		set_ready(c);
}

static void hear(struct client *c)
{
	static char chunk[1 << 16];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	size_t keep;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(c, false);
		return;
	}
	self.in += (uint64_t)n;
	keep = (size_t)n < HEARD_MAX ? (size_t)n : HEARD_MAX;
	if (c->nheard + keep > HEARD_MAX) {
		memmove(c->heard, c->heard + c->nheard + keep - HEARD_MAX,
		    HEARD_MAX - keep);
		c->nheard = HEARD_MAX - keep;
	}
	memcpy(c->heard + c->nheard, chunk + n - (ssize_t)keep, keep);
	c->nheard += keep;
}

static void on_event(struct client *c, unsigned events)
{
	if (c->fd < 0)
		return;
	if (!c->connected) {
		int err = 0;
		socklen_t n = sizeof(err);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n);
		if (err != 0 || events & EPOLLERR) {
			drop(c, true);
			return;
		}
		c->connected = true;
		self.open++;
			want(c, EPOLLIN);
	}
	if (events & EPOLLIN && !c->deaf)
		hear(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		drop(c, false);
	if (c->fd >= 0)
		advance(c);
}

static void open_one(struct client *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)self.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(self.from + 1 +
		    (uint32_t)(c->number % self.addresses * self.apart)) };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT,
		.data.ptr = c };
	int one = 1;

	self.tried++;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (c->fd < 0) {
		self.failed++;
		return;
	}
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
	    sizeof(one));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (self.rcvbuf > 0)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &self.rcvbuf,
		    sizeof(self.rcvbuf));
	c->events = ev.events;
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		errno != EINPROGRESS) ||
	    epoll_ctl(self.epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		drop(c, true);
}

static void trickle(int64_t now)
{
	for (int i = 0; i < self.count; i++) {
		struct client *c = &self.clients[i];
		const struct step *s;

		if (c->fd < 0 || c->step >= self.nsteps)
			continue;
		s = &self.steps[c->step];
		if (s->what != TRICKLE || now < c->next_ms)
			continue;
		c->next_ms = now + s->ms;
		if (send(c->fd, s->text + c->at, 1, MSG_NOSIGNAL |
			MSG_DONTWAIT) == 1) {
			c->at = (c->at + 1) % s->n;
			self.out++;
		} else if (errno != EAGAIN) {
			drop(c, false);
		}
	}
}

static void unescape(struct step *s, const char *text)
{
	size_t n = strlen(text);

	if ((s->text = malloc(n + 1)) == NULL)
		exit(2);
	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (c == '\\' && i + 1 < n) {
			c = text[++i];
			c = c == 'r' ? '\r' : c == 'n' ? '\n' :
			    c == '0' ? '\0' : c;
		}
		s->text[s->n++] = c;
	}
}

static void parse_steps(char **v)
{
	static const struct { const char *word; enum what what; int args; }
	words[] = { { "say", SAY, 1 }, { "hear", HEAR, 1 },
		{ "trickle", TRICKLE, 2 }, { "flood", FLOOD, 1 },
		{ "deaf", DEAF, 0 }, { "stay", STAY, 0 } };

	while (*v != NULL) {
		struct step *s = &self.steps[self.nsteps++];
		size_t i = 0;

		while (i < sizeof(words) / sizeof(words[0]) &&
		    strcmp(*v, words[i].word) != 0)
			i++;
		if (i == sizeof(words) / sizeof(words[0]) ||
		    self.nsteps == STEPS_MAX) {
			fprintf(stderr, "crowd: %s?\n", *v);
			exit(2);
		}
		s->what = words[i].what;
		v++;
		for (int k = 0; k < words[i].args; k++, v++) {
			if (*v == NULL) {
				fprintf(stderr, "crowd: a step lacks a word\n");
				exit(2);
			}
			if (k + 1 < words[i].args)
				s->ms = atoi(*v);
			else
				unescape(s, *v);
		}
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "count", required_argument, NULL, 'c' },
		{ "from", required_argument, NULL, 'f' },
		{ "addresses", required_argument, NULL, 'a' },
		{ "apart", required_argument, NULL, 's' },
		{ "rate", required_argument, NULL, 'r' },
		{ "rcvbuf", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	struct in_addr from;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			self.port = atoi(optarg);
			break;
		case 'c':
			self.count = atoi(optarg);
			break;
		case 'f':
			if (inet_pton(AF_INET, optarg, &from) != 1)
				exit(2);
			self.from = ntohl(from.s_addr);
			break;
		case 'a':
			self.addresses = atoi(optarg);
			break;
		case 's':
			self.apart = atoi(optarg);
			break;
		case 'r':
			self.rate = atoi(optarg);
			break;
		case 'b':
			self.rcvbuf = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (self.port == 0 || self.count < 1 || self.addresses < 1) {
		fprintf(stderr, "crowd: --port and --count are needed\n");
		exit(2);
	}
	parse_steps(argv + optind);
}

static void run(void)
{
	int64_t start = now_ms(), told = 0;
	struct epoll_event ev[256];
	int opened = 0;

	for (;;) {
		int n = epoll_wait(self.epoll, ev, 256, TICK_MS);
		int64_t now = now_ms();

		for (int i = 0; i < n; i++) {
			char gone[16];

			if (ev[i].data.ptr != NULL)
				on_event(ev[i].data.ptr, ev[i].events);
			else if (read(0, gone, sizeof(gone)) <= 0)
				return;
		}
		while (opened < self.count &&
		    opened < (now - start + TICK_MS) * self.rate / 1000)
			open_one(&self.clients[opened++]);
		trickle(now);
		if (now - told < 100)
			continue;
		told = now;
		printf("tried %ld open %ld ready %ld closed %ld failed %ld "
		    "in %llu out %llu\n", self.tried, self.open, self.ready,
		    self.closed, self.failed, (unsigned long long)self.in,
		    (unsigned long long)self.out);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	struct rlimit rl;

	parse(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	self.clients = calloc((size_t)self.count, sizeof(*self.clients));
	self.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (self.clients == NULL || self.epoll < 0 ||
	    epoll_ctl(self.epoll, EPOLL_CTL_ADD, 0, &ev) < 0) {
		perror("crowd");
		return 2;
	}
	for (int i = 0; i < self.count; i++)
		self.clients[i] = (struct client){ .fd = -1, .number = i };
	run();
	return 0;
}
