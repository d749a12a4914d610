/*
 * oracle.c - is everything there that was acknowledged, once, octet for octet?
 *
 *	crash-oracle --ledger FILE [--spool DIR] [--mail DIR] [--sink DIR]
 *	    [--acked-until N] [--window N] [--log FILE] [-v]
 *
 * The suite that wrote the places is down, or they are copies; nothing is
 * changed in them.
 *
 * The ledger, a line an event, words separated by one space:
 *
 *	sent TOKEN SHA256 OCTETS RCPT[,RCPT...]  before the last octet of it
 *				leaves the client; again: it is sent again
 *	acked TOKEN [RCPT]	the client has read 250, OK, exit status 0 (of
 *				one recipient: LMTP)
 *	refused TOKEN CODE	4yz or 5yz was read instead
 *	taking TOKEN RCPT	a client asked to remove a copy
 *	taken TOKEN RCPT	and was told that this is done
 *	copying TOKEN RCPT	a client asked for one more copy (COPY, MOVE)
 *	copied TOKEN RCPT	and was told that this is done (COPY)
 *	moved TOKEN RCPT	and was told that one is elsewhere now (MOVE)
 *	alias RCPT MAILBOX	mail for RCPT lies in that mailbox (user@domain)
 *	killed PROGRAM PID	we kill that process (written before)
 *	ended PROGRAM PID	the same, of one whose end cannot double a
 *				message
 *	powercut | fault WHAT	we do that
 *	mark N			a moment; with --acked-until N the power went
 *				there: nothing behind it is a promise, and what
 *				is asked behind it had no effect yet
 *
 * A message has `X-Proof: TOKEN` in its header; SHA256 and OCTETS are of all
 * from that line to its end, with CR LF line ends. --mail is a tree whose
 * directories are DOMAIN/USER (Maildirs with folders, mbox files); in --sink
 * a file is a transaction: RCPT[,RCPT...], line end, message.
 *
 *	LOST	   acknowledged, and not pending in the queue (or maildrop/),
 *		   nor in the mailbox, in the sink, or told of in a notice
 *	DAMAGED	   other octets than were sent
 *	DUPLICATE  more copies than were asked for, plus one for each kill, cut
 *		   or fault since it was sent (at most --window of them); or
 *		   where nobody sent it
 *	RESIDUE	   a file that no start and no cleaning takes away
 *	DIED	   --log has a panic, or a death by a signal that is not ours
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "tests/crash/oracle.h"

#define SIGNAL_OF_OURS 9

void oracle_say(unsigned *count, const char *verdict, const char *fmt, ...)
{
	va_list ap;

	(*count)++;
	printf("%s ", verdict);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void oracle_stop(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "crash-oracle: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* Room for one more element: the array doubles when count is a power of 2. */
void *oracle_grow(void *array, size_t count, size_t size)
{
	if (count > 0 && (count & (count - 1)) != 0)
		return array;
	array = realloc(array, (count == 0 ? 1 : 2 * count) * size);
	if (array == NULL)
		oracle_stop("out of memory");
	return array;
}

/* --- programs that died ------------------------------------------------ */

static bool is_ours(const struct oracle *o, long pid, int signal)
{
	if (signal != SIGNAL_OF_OURS)
		return false;
	for (size_t i = 0; i < o->killed_count; i++)
		if (o->killed[i].pid == pid)
			return true;
	return false;
}

static void judge_log(struct oracle *o, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (f == NULL)
		oracle_stop("%s: cannot be opened", path);
	while ((n = getline(&line, &room, f)) > 0) {
		const char *by = strstr(line, "] killed by signal ");
		const char *open = by;
		long pid = 0;
		int signal = 0;

		line[n - 1] = '\0';
		while (open != NULL && open > line && *open != '[')
			open--;
		if (open != NULL)
			pid = strtol(open + 1, NULL, 10);
		if (by != NULL)
			signal = (int)strtol(by + 19, NULL, 10);
		if (strstr(line, "panic: ") != NULL ||
		    (by != NULL && !is_ours(o, pid, signal)))
			oracle_say(&o->gone, "DIED", "%s", line);
	}
	free(line);
	fclose(f);
}

/* --- the verdict ------------------------------------------------------- */

static unsigned allowance(const struct oracle *o, const struct proof *p)
{
	unsigned since = o->deaths - p->deaths_before;

	return since < o->window ? since : o->window;
}

static void judge_wanted(struct oracle *o, const struct proof *p,
    const struct wanted *w, bool refused)
{
	int there = w->good + w->notices;
	int least = 1 + w->copied - w->taken - w->taking;
	int most = (int)p->sent + w->copied + w->copying - w->taken;

	if (refused)
		most -= (int)p->refused;
	/* A notice is a message of its own, on a way of its own. */
	if (w->notices > 1)
		most += (int)allowance(o, p);
	if (w->acked) {
		o->acked++;
		if (there >= least)
			o->found++;
		else
			oracle_say(&o->lost, "LOST", "%s " STR_FMT ": %d of "
			    "%d copies%s%s", p->token, STR_ARG(w->address),
			    there, least, w->places ? ": " : "",
			    w->places ? w->places : "");
	}
	there += w->cut;
	if (there > most + (int)allowance(o, p))
		oracle_say(&o->duplicated, "DUPLICATE", "%s " STR_FMT
		    ": %d copies%s%s, %d right, %u kills since: %s", p->token,
		    STR_ARG(w->address), there, refused ? ", refused with "
		    : "", refused ? p->code : "", most, allowance(o, p),
		    w->places ? w->places : "nowhere");
	else if (there > most)
		o->extra += (unsigned)(there - most);
}

static void judge(struct oracle *o)
{
	for (size_t i = 0; i < o->proof_count; i++) {
		const struct proof *p = o->proofs[i];
		bool refused = p->refused > 0;

		for (size_t k = 0; k < p->wanted_count; k++)
			refused &= !p->wanted[k].acked;
		for (size_t k = 0; k < p->wanted_count; k++)
			judge_wanted(o, p, &p->wanted[k], refused);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: crash-oracle --ledger FILE [--spool DIR] "
	    "[--mail DIR] [--sink DIR] [--acked-until N] [--window N] "
	    "[--log FILE] [-v]\n");
	return 64;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ledger", required_argument, NULL, 'l' },
		{ "spool", required_argument, NULL, 's' },
		{ "mail", required_argument, NULL, 'm' },
		{ "sink", required_argument, NULL, 'r' },
		{ "acked-until", required_argument, NULL, 'a' },
		{ "window", required_argument, NULL, 'w' },
		{ "log", required_argument, NULL, 'o' }, { 0 },
	};
	const char *ledger = NULL, *spool = NULL, *mail = NULL, *sink = NULL,
	    *log = NULL;
	struct oracle o = { .window = UINT32_MAX };
	long until = -1;
	int c;

	while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1)
		switch (c) {
		case 'l': ledger = optarg; break;
		case 's': spool = optarg; break;
		case 'm': mail = optarg; break;
		case 'r': sink = optarg; break;
		case 'a': until = strtol(optarg, NULL, 10); break;
		case 'w': o.window = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'o': log = optarg; break;
		case 'v': o.verbose = true; break;
		default: return usage();
		}
	if (ledger == NULL || optind != argc)
		return usage();
	o.tokens = map_new(false);
	o.aliases = map_new(true);
	if (o.tokens == NULL || o.aliases == NULL)
		oracle_stop("out of memory");
	ledger_read(&o, ledger, until);
	if (spool != NULL)
		places_queue(&o, spool);
	if (mail != NULL)
		places_mail(&o, mail);
	if (sink != NULL)
		places_sink(&o, sink);
	if (log != NULL)
		judge_log(&o, log);
	judge(&o);
	if (o.extra > 0 || o.verbose)
		printf("note: %u copies more than asked for, each within "
		    "the window of a kill\n", o.extra);
	printf("oracle: %u acked, %u found, %u lost, %u damaged, "
	    "%u duplicated, %u residue, %u died\n", o.acked, o.found, o.lost,
	    o.damaged, o.duplicated, o.residue, o.gone);
	return o.lost + o.damaged + o.duplicated + o.residue + o.gone > 0;
}
