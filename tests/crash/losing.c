/*
 * losing.c - takes mail in orders that are known to lose it
 *
 *	crash-losing ORDER SPOOL MAIL LEDGER CTL COUNT
 *
 * What h4.py has to catch before it may say that it found nothing: COUNT
 * messages are acknowledged in the LEDGER (oracle.c), with a mark each in
 * the recorder's CTL, and were not on stable storage:
 *
 *	link	 a file is written and synced under another name, linked to
 *		 its own, and the directory is not synced
 *	rename	 the same with a rename
 *	deliver	 a message is well in the queue; its copy in MAIL is synced and
 *		 renamed into new/, which is not synced, and then its queue
 *		 file is removed. Queue and mailbox are on two disks.
 *	sound	 as it should be: the replay must not see ghosts
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/sys.h"
#include "queue/commit.h"
#include "queue/spool.h"

#define RCPT "anna@our.test"
#define MAILDIR "our.test/anna"

struct writer {
	const char *order;
	struct queue_spool spool;
	int mail;		/* the Maildir */
	int ledger, ctl;
};

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "crash-losing: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(int fd, const char *text)
{
	must(sys_write_all(fd, text, strlen(text)), text);
}

static struct str message(int k, char text[300], char line[300])
{
	unsigned char sha[32];
	char hex[65];
	int n = snprintf(text, 300, "X-Proof: losing-%d\r\nSubject: lost\r\n"
	    "\r\nThis is message %d.\r\n", k, k);

	EVP_Digest(text, (size_t)n, sha, NULL, EVP_sha256(), NULL);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", sha[i]);
	snprintf(line, 300, "sent losing-%d %s %d " RCPT "\n", k, hex, n);
	return str_n(text, (size_t)n);
}

static void commit(int fd, uint64_t id, struct str text)
{
	struct queue_recipient rcpt = { .address = STR(RCPT) };
	struct queue_envelope e = { .arrival = 1, .sender = STR("s@x.test"),
		.recipients = &rcpt, .recipient_count = 1 };
	struct queue_commit *c;
	const char *why;

	must(queue_commit_begin(&c, fd, id, 1 << 20), "begin");
	must(queue_commit_append(c, text), "append");
	must(queue_commit(c, &e, &why), "commit");
	queue_commit_end(&c);
}

static uint64_t receive(struct writer *w, struct str text)
{
	int in = w->spool.place[QUEUE_INCOMING], fd;
	bool by_link = strcmp(w->order, "link") == 0;
	char name[QUEUE_ID_SIZE];
	uint64_t id;

	must(queue_spool_stock(&w->spool, 1, NULL, 0, &id, &fd), "stock");
	if (by_link || strcmp(w->order, "rename") == 0) {
		/* an id that is used by nobody else, and none of its file */
		queue_id_text(id, name);
		must(unlinkat(in, name, 0), name);
		close(fd);
		fd = openat(in, "tmp", O_RDWR | O_CREAT | O_EXCL, 0600);
		must(fd, "tmp");
		commit(fd, id, text);
		if (by_link) {
			must(linkat(in, "tmp", in, name, 0), "link");
			must(unlinkat(in, "tmp", 0), "unlink");
		} else {
			must(renameat(in, "tmp", in, name), "rename");
		}
	} else {
		commit(fd, id, text);
	}
	close(fd);
	return id;
}

static void deliver(struct writer *w, int k, uint64_t id, struct str text,
    bool sync)
{
	struct queue_name name = { id, QUEUE_INCOMING, 0 };
	char tmp[32], new[32];
	int fd;

	snprintf(tmp, sizeof(tmp), "tmp/%d.x", k);
	snprintf(new, sizeof(new), "new/%d.x", k);
	fd = openat(w->mail, tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	must(fd, tmp);
	must(sys_write_all(fd, text.p, text.n), tmp);
	must(fsync(fd), tmp);
	close(fd);
	must(renameat(w->mail, tmp, w->mail, new), new);
	if (sync) {
		fd = openat(w->mail, "new", O_RDONLY | O_DIRECTORY);
		must(fd, "new");
		must(fsync(fd), "new");
		close(fd);
	}
	must(queue_spool_release(&w->spool, &name), "release");
	must(queue_spool_sync(&w->spool, &name), "sync");
}

static void one(struct writer *w, int k)
{
	char text[300], line[300];
	struct str message_text = message(k, text, line);
	uint64_t id;

	say(w->ledger, line);
	id = receive(w, message_text);
	if (strcmp(w->order, "deliver") == 0)
		deliver(w, k, id, message_text, false);
	else if (strcmp(w->order, "sound") == 0)
		deliver(w, k, id, message_text, true);
	snprintf(line, sizeof(line), "acked losing-%d\nmark %d\n", k, k + 1);
	say(w->ledger, line);
	snprintf(line, sizeof(line), "mark %d\n", k + 1);
	say(w->ctl, line);
}

static int make_maildir(const char *mail)
{
	static const char *const dirs[] = { "our.test", MAILDIR,
		MAILDIR "/tmp", MAILDIR "/new", MAILDIR "/cur" };
	int dir = open(mail, O_RDONLY | O_DIRECTORY), fd;

	must(dir, mail);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdirat(dir, dirs[i], 0700) < 0 && errno != EEXIST)
			must(-1, dirs[i]);
	must(syncfs(dir), mail);
	fd = openat(dir, MAILDIR, O_RDONLY | O_DIRECTORY);
	must(fd, MAILDIR);
	close(dir);
	return fd;
}

int main(int argc, char **argv)
{
	struct writer w = { 0 };
	const char *why;
	int dir;

	if (argc != 7) {
		fprintf(stderr, "usage: crash-losing ORDER SPOOL MAIL LEDGER "
		    "CTL COUNT\n");
		return 64;
	}
	w.order = argv[1];
	if (mkdir(argv[2], 0700) < 0 && errno != EEXIST)
		must(-1, argv[2]);
	dir = open(argv[2], O_RDONLY | O_DIRECTORY);
	must(dir, argv[2]);
	if (queue_spool_open(&w.spool, dir, true, false, &why) < 0)
		must(-1, why);
	must(syncfs(dir), "syncfs");
	w.mail = make_maildir(argv[3]);
	w.ledger = open(argv[4], O_WRONLY | O_CREAT | O_APPEND, 0600);
	must(w.ledger, argv[4]);
	w.ctl = open(argv[5], O_WRONLY);
	must(w.ctl, argv[5]);
	for (int k = 0; k < atoi(argv[6]); k++)
		one(&w, k);
	return 0;
}
