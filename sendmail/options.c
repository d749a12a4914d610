/*
 * options.c - what thirty years of callers write behind `sendmail`
 *
 * An option that only had a meaning for another implementation's inner
 * workings is taken and does nothing: cron, mail user agents and list
 * managers pass them. sendmail(1) lists each.
 */
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "sendmail/sendmail.h"
#include "msgs/submit.h"

static int usage(void)
{
	fprintf(stderr, "usage: sendmail [-tivG] [-f SENDER] [-F NAME] "
	    "[-C DIRECTORY] [-bMODE]\n"
	    "                [-N NOTIFY] [-R full|hdrs] [-V ENVID] "
	    "[-B BODY] [--] [RECIPIENT]...\n");
	return EX_USAGE;
}

/* A directory, or a file in it. */
static int set_config(struct options *o, char *path)
{
	struct stat st;
	bool is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	o->config_dir = is_file ? dirname(path) : path;
	return 0;
}

static int set_mode(struct options *o, const char *arg)
{
	static const struct {
		char letter;
		enum mode mode;
	} modes[] = {
		{ 'm', MODE_ENQUEUE }, { 's', MODE_SMTP }, { 'p', MODE_LIST },
		{ 'i', MODE_ALIASES }, { 'd', MODE_DAEMON },
		{ 'l', MODE_DAEMON }, { 'D', MODE_FOREGROUND },
		{ 'v', MODE_VERIFY }, { 'h', MODE_NOTHING },
		{ 'H', MODE_NOTHING },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (arg[0] == modes[i].letter && arg[1] == '\0') {
			o->mode = modes[i].mode;
			return 0;
		}
	return complain(EX_USAGE, "unsupported: -b%s", arg);
}

static int set_queue_mode(struct options *o, const char *arg)
{
	if (arg == NULL || arg[0] == 'f' || arg[0] == 'p') {
		o->mode = MODE_FLUSH;
	} else if (arg[0] == 'I' && arg[1] != '\0') {
		o->mode = MODE_FLUSH_ID;
		o->flush = arg + 1;
	} else if (arg[0] == 'R' && arg[1] != '\0') {
		o->mode = MODE_FLUSH_SITE;
		o->flush = arg + 1;
	} else if (arg[0] >= '0' && arg[0] <= '9') {
		/* how often a daemon looks: ours looks when it is time */
		if (o->mode != MODE_DAEMON && o->mode != MODE_FOREGROUND)
			o->mode = MODE_NOTHING;
	} else {
		return complain(EX_USAGE, "-q%s is not implemented", arg);
	}
	return 0;
}

/* RFC 3461 4.1 */
static int set_notify(struct options *o, const char *arg)
{
	static const struct {
		const char *word;
		uint64_t bit;
	} words[] = {
		{ "never", NOTIFY_NEVER }, { "success", NOTIFY_SUCCESS },
		{ "failure", NOTIFY_FAILURE }, { "delay", NOTIFY_DELAY },
	};
	struct str rest = str_of(arg), word;
	uint64_t bits = 0;

	while (str_word(&rest, ", ", &word)) {
		size_t i;

		for (i = 0; i < 4; i++)
			if (str_eq_nocase_c(word, words[i].word))
				break;
		if (i == 4)
			bits = 16;
		else
			bits |= words[i].bit;
	}
	if (bits == 0 || bits > 15 ||
	    (bits & NOTIFY_NEVER && bits != NOTIFY_NEVER))
		fprintf(stderr, "sendmail: warning: -N: invalid value: \"%s\", "
		    "ignored\n", arg);
	else
		o->notify = bits;
	return 0;
}

static int set_return(struct options *o, const char *arg)
{
	if (strcasecmp(arg, "full") == 0)
		o->ret = 1;
	else if (strcasecmp(arg, "hdrs") == 0)
		o->ret = 2;
	else
		fprintf(stderr, "sendmail: warning: -R: invalid value: \"%s\", "
		    "ignored\n", arg);
	return 0;
}

static int set_envid(struct options *o, const char *arg)
{
	size_t n = strlen(arg);

	if (n == 2 && strpbrk(arg, "+-=") == arg)
		return complain(EX_USAGE, "-V%s: VERP is not supported", arg);
	if (n == 0 || n > 100 || str_has_ctl(str_of(arg)) ||
	    !str_is_ascii(str_of(arg)))
		return complain(EX_USAGE, "-V: want at most 100 printable "
		    "characters");
	o->envid = arg;
	return 0;
}

static int set_body(struct options *o, const char *arg)
{
	if (strcasecmp(arg, "8BITMIME") == 0)
		o->flags |= PICKUP_8BITMIME;
	else if (strcasecmp(arg, "7BIT") != 0)
		return complain(EX_USAGE, "-B: want 7BIT or 8BITMIME");
	return 0;
}

static int set_long(struct options *o, const char *arg)
{
	if (strncasecmp(arg, "smtputf8=", 9) == 0) {
		if (strcasecmp(arg + 9, "yes") == 0)
			o->flags |= PICKUP_SMTPUTF8;
	} else if (strncasecmp(arg, "requiretls=", 11) == 0 &&
	    strcasecmp(arg + 11, "yes") == 0) {
		/* not to be promised without being kept (RFC 8689) */
		return complain(EX_USAGE, "-O requiretls is not supported");
	}
	return 0;
}

static int set_short(struct options *o, const char *arg)
{
	switch (arg[0]) {
	case 'A':
		o->alias_file = arg + 1;
		break;
	case 'i':
		o->ignore_dots = true;
		break;
	case '8':
		o->flags |= PICKUP_8BITMIME;
		break;
	default:
		/* -odX, -oeX, -om, -o7, ...: how a daemon of another kind
		 * would queue and report; ours always queues and answers
		 * with its exit code */
		break;
	}
	return 0;
}

static int set_sender(struct options *o, char *arg)
{
	size_t n = strlen(arg);

	o->has_sender = true;
	o->sender = arg;
	if (n >= 2 && arg[0] == '<' && arg[n - 1] == '>') {
		arg[n - 1] = '\0';
		o->sender = arg + 1;
	}
	return 0;
}

static int take_option(struct options *o, int c, char *arg,
    unsigned *verbose)
{
	switch (c) {
	case 'C': return set_config(o, arg);
	case 'b': return set_mode(o, arg);
	case 'q': return set_queue_mode(o, arg);
	case 'N': return set_notify(o, arg);
	case 'R': return set_return(o, arg);
	case 'V': return set_envid(o, arg);
	case 'B': return set_body(o, arg);
	case 'O': return set_long(o, arg);
	case 'o': return set_short(o, arg);
	case 'f': case 'r': return set_sender(o, arg);
	case 'F':
		o->full_name = arg;
		return 0;
	case 'G':
		o->gateway = true;
		return 0;
	case 'I':
		o->mode = MODE_ALIASES;
		return 0;
	case 'i':
		o->ignore_dots = true;
		return 0;
	case 't':
		o->from_header = true;
		return 0;
	case 'v':
		++*verbose;
		return 0;
	case 'X':
		if (arg[0] == 'V')
			return complain(EX_USAGE, "-XV: VERP is not "
			    "supported");
		return 0; /* a traffic log, which nothing here would fill */
	case 'A': case 'L': case 'e': case 'h': case 'p': case 'c': case 'm':
	case 'n': case 'x': case 'U': case 'd': case 'D':
		return 0;
	default:
		return usage();
	}
}

int options_read(struct options *o, int argc, char **argv)
{
	const char *env = getenv("MAIL_CONFIG");
	unsigned verbose = 0;
	int c, rc;

	*o = (struct options){ .config_dir = env && env[0] ? env
	    : POSTERN_SYSCONFDIR, .full_name = getenv("NAME") };
	while ((c = getopt(argc, argv, "A:B:C:D:F:GIL:N:O:R:UV:X:b:cd::e:f:"
	    "h:imno:p:q::r:tvx")) != -1)
		if ((rc = take_option(o, c, optarg, &verbose)) != 0)
			return rc;
	/* once: a report of what became of it (RFC 3461); more often:
	 * what other implementations print of their own work */
	o->verbose = verbose > 0;
	o->rcpts = argv + optind;
	o->rcpt_count = argc - optind;
	if (o->mode == MODE_VERIFY && (o->from_header || o->verbose ||
		o->notify != 0 || o->ret != 0))
		return complain(EX_USAGE, "-t, -v, -N and -R cannot be used "
		    "with -bv");
	return 0;
}
