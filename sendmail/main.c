/*
 * sendmail - receives mail: the local command line
 *
 * Hears from:  whoever calls it
 * Talks to:    pickup (msgs/pickup.h, over public/pickup), or leaves the
 *              message in maildrop/ when the suite is down
 * Runs as:     the caller; no set-id file
 * Owns:        nothing
 * Start at:    main(); options.c, message.c
 * RFCs:        5322 (3.6.2), 3461 (4)
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "msgs/lookup.h"
#include "sendmail/sendmail.h"

#define CONFIG_MAX (16 * 1024 * 1024)
#define ANSWER_TIMEOUT (60 * CLOCK_SECOND)

static const char *program = "sendmail";

int complain(int code, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: fatal: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* Standard descriptors that are closed would become files of ours; those
 * above were left open by somebody who forgot them. */
static void tidy_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 3);
	closefrom(3);
}

/* --- what another command does --- */

/* Another name of the operator's command: beside us, or where it was
 * installed. Returns only when it cannot be started. */
static int run_command(const char *name, const char *const *args)
{
	char self[4096], path[4200];
	const char *argv[12] = { name };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	for (i = 0; i < 10 && args[i] != NULL; i++)
		argv[i + 1] = args[i];
	if (n > 0) {
		self[n] = '\0';
		snprintf(path, sizeof(path), "%s/postern", dirname(self));
		execv(path, (char *const *)(uintptr_t)argv);
	}
	execv(POSTERN_BINDIR "/postern", (char *const *)(uintptr_t)argv);
	return complain(EX_OSERR, "cannot run %s: %s", path, strerror(errno));
}

static int run_mode(const struct options *o)
{
	const char *dir = o->config_dir;

	switch (o->mode) {
	case MODE_LIST:
		return run_command("mailq", (const char *[]){ "-C", dir,
			NULL });
	case MODE_ALIASES:
		if (o->alias_file != NULL)
			return run_command("postalias", (const char *[]){ "-c",
				dir, "--", o->alias_file, NULL });
		return run_command("newaliases", (const char *[]){ "-C", dir,
			NULL });
	case MODE_DAEMON:
		return run_command("postern", (const char *[]){ "-c", dir,
			"start", NULL });
	case MODE_FOREGROUND:
		return run_command("postern", (const char *[]){ "-c", dir,
			"start", "--foreground", NULL });
	case MODE_FLUSH:
		return run_command("postqueue", (const char *[]){ "-c", dir,
			"-f", NULL });
	case MODE_FLUSH_ID:
		return run_command("postqueue", (const char *[]){ "-c", dir,
			"-i", o->flush, NULL });
	case MODE_FLUSH_SITE:
		return run_command("postqueue", (const char *[]){ "-c", dir,
			"-s", o->flush, NULL });
	default:
		return 0;
	}
}

/* --- -bs --- */

static int speak_smtp(const char *queue_directory)
{
	struct pickup_stdio m = { STDIN_FILENO, STDOUT_FILENO };
	struct conv *c = send_connect(queue_directory);
	struct pickup_stdio_done done;
	const char *why;
	int rc;

	if (c == NULL)
		return complain(EX_TEMPFAIL, "the mail system is down");
	rc = conv_call(c, &pickup_stdio_schema, &m,
	    &pickup_stdio_done_schema, &done, CLOCK_NEVER, &why);
	conv_close(&c);
	return rc == 0 && done.served ? 0 : complain(EX_TEMPFAIL,
	    "the mail system did not serve the session");
}

/* --- -bv --- */

static int verify_one(struct conv *c, const char *address)
{
	struct pickup_verify m = { str_of(address) };
	struct pickup_verified v;
	const char *why;

	if (conv_call(c, &pickup_verify_schema, &m, &pickup_verified_schema,
		&v, clock_now() + ANSWER_TIMEOUT, &why) < 0)
		return complain(EX_TEMPFAIL, "%s: %s", address, why);
	switch (v.status) {
	case LOOKUP_OK:
		printf("%s... deliverable: mailer " STR_FMT, address,
		    STR_ARG(v.transport));
		if (v.nexthop.n > 0)
			printf(", host " STR_FMT, STR_ARG(v.nexthop));
		printf(", user " STR_FMT "\n", STR_ARG(v.address));
		return 0;
	case LOOKUP_TEMPFAIL:
		printf("%s... " STR_FMT "\n", address, STR_ARG(v.text));
		return EX_TEMPFAIL;
	case LOOKUP_BAD:
		printf("%s... " STR_FMT "\n", address, STR_ARG(v.text));
		return EX_DATAERR;
	default:
		printf("%s... " STR_FMT "\n", address, STR_ARG(v.text));
		return EX_NOUSER;
	}
}

static int verify(const struct options *o, const char *queue_directory)
{
	struct conv *c;
	int rc = 0;

	if (o->rcpt_count == 0)
		return complain(EX_USAGE, "-bv: want recipients");
	if ((c = send_connect(queue_directory)) == NULL)
		return complain(EX_TEMPFAIL, "the mail system is down");
	for (int i = 0; i < o->rcpt_count; i++) {
		int one = verify_one(c, o->rcpts[i]);

		rc = one != 0 ? one : rc;
	}
	conv_close(&c);
	return rc;
}

/* --- a message --- */

static int64_t size_limit(const struct config *c)
{
	const char *text = config_value(c, "message_size_limit");
	uint64_t n;

	return text != NULL && str_to_u64(str_of(text), INT64_MAX, &n) == 0
	    ? (int64_t)n : 0;
}

static int enqueue(const struct options *o, const struct config *c,
    const char *queue_directory)
{
	static struct message m;
	struct conv *pickup;
	int rc;

	m.size_limit = size_limit(c);
	if ((rc = message_read(&m, o, c)) != 0)
		return rc;
	if ((pickup = send_connect(queue_directory)) != NULL) {
		rc = send_message(pickup, &m);
		conv_close(&pickup);
		if (rc >= 0)
			return rc;
	}
	return drop_message(queue_directory, &m);
}

static int run(const struct options *o)
{
	const char *queue_directory;
	struct config *c;
	int dir, rc;

	dir = open(o->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return complain(EX_TEMPFAIL, "%s: %s", o->config_dir,
		    strerror(errno));
	c = config_read(dir, o->config_dir, CONFIG_NO_MASTER |
	    CONFIG_NO_TRUST);
	close(dir);
	if (c == NULL)
		return complain(EX_TEMPFAIL, "no memory");
	queue_directory = config_value(c, "queue_directory");
	if (queue_directory == NULL || queue_directory[0] != '/')
		rc = complain(EX_TEMPFAIL, "%s/main.cf: no queue_directory",
		    o->config_dir);
	else if (o->mode == MODE_SMTP)
		rc = speak_smtp(queue_directory);
	else if (o->mode == MODE_VERIFY)
		rc = verify(o, queue_directory);
	else
		rc = enqueue(o, c, queue_directory);
	if (rc == 0 && o->mode == MODE_ENQUEUE && o->verbose)
		printf("Mail Delivery Status Report will be mailed to the "
		    "sender.\n");
	config_free(&c);
	return fflush(stdout) == 0 ? rc : EX_TEMPFAIL;
}

/* Under another name another mode, as the links of a system call us. */
static void take_name(struct options *o, char *argv0)
{
	const char *name = basename(argv0);

	if (strcmp(name, "mailq") == 0)
		o->mode = MODE_LIST;
	else if (strcmp(name, "newaliases") == 0)
		o->mode = MODE_ALIASES;
	else if (strcmp(name, "smtpd") == 0)
		o->mode = MODE_DAEMON;
	else if (strcmp(name, "hoststat") == 0 ||
	    strcmp(name, "purgestat") == 0)
		o->mode = MODE_NOTHING;
}

int main(int argc, char **argv)
{
	struct options o;
	int rc;

	tidy_descriptors();
	signal(SIGPIPE, SIG_IGN);
	/* a file that may not grow is an error, not our end with a half of it
	 * left behind */
	signal(SIGXFSZ, SIG_IGN);
	/* files that we leave are readable by pickup's group, whatever the
	 * caller's mask */
	umask(077);
	if ((rc = options_read(&o, argc, argv)) != 0)
		return rc;
	take_name(&o, argv[0]);
	switch (o.mode) {
	case MODE_ENQUEUE:
	case MODE_SMTP:
	case MODE_VERIFY:
		return run(&o);
	case MODE_NOTHING:
		return 0;
	default:
		return run_mode(&o);
	}
}
