/*
 * cmd_init.c - makes a complete instance of its own in a directory
 *
 * For trying, for tests, for containers: any uid, ports of its own, a
 * certificate authority of its own, users in a file. Nothing of it is shared
 * with another instance.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/sys.h"
#include "config/config.h"
#include "postern/certificate.h"
#include "postern/postern.h"

#define UID_BASE 63100
#define UID_MAIL (UID_BASE + 50) /* owns virtual users' mail */
#define MANY 1000

struct port {
	const char *name;
	int number;
	const char *service; /* command and options in master.cf */
};

static const struct port ports[] = {
	{ "smtp", 25, "smtpd" },
	{ "submission", 587, "smtpd\n"
	    "  -o syslog_name=postern/submission\n"
	    "  -o smtpd_tls_security_level=may\n"
	    "  -o smtpd_sasl_auth_enable=yes\n"
	    "  -o smtpd_protocol=submission\n"
	    "  -o smtpd_client_restrictions=\n"
	    "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject" },
	{ "submissions", 465, "smtpd\n"
	    "  -o syslog_name=postern/submissions\n"
	    "  -o smtpd_tls_wrappermode=yes\n"
	    "  -o smtpd_sasl_auth_enable=yes\n"
	    "  -o smtpd_protocol=submission\n"
	    "  -o smtpd_client_restrictions=\n"
	    "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject" },
	{ "lmtp", 24, "smtpd\n  -o smtpd_protocol=lmtp" },
	{ "pop3", 110, "pop3-login" },
	{ "pop3s", 995, "pop3-login\n  -o login_tls_wrappermode=yes" },
	{ "imap", 143, "imap-login" },
	{ "imaps", 993, "imap-login\n  -o login_tls_wrappermode=yes" },
};
#define NPORTS (sizeof(ports) / sizeof(ports[0]))

struct init {
	char dir[4096];		/* absolute */
	int dirfd;
	int base;
	const char *domain;
	const char *users[MANY];
	size_t nusers;
	const char *sets[MANY];
	size_t nsets;
	unsigned first_set;	/* its line in main.cf */
	bool root;
	bool made_dir;		/* DIR itself */
	size_t made;		/* of dirs[] */
};

/* What an instance has in DIR, in the order in which it is made. */
static const struct {
	const char *name;
	mode_t mode;
	unsigned uid; /* when root makes it */
} dirs[] = { { "etc", 0755, 0 },
	/* beside etc, which lookup and auth may read */
	{ "keys", 0700, 0 }, { "mail", 0711, UID_MAIL },
	{ "log", 0755, UID_BASE + 1 }, { "data", 0755, 0 } };

static int usage(void)
{
	fprintf(stderr, "usage: postern init DIR [--port-base N] "
	    "[--domain NAME] [--user ADDRESS:PASSWORD]...\n"
	    "           [--set PARAM=VALUE]...\n");
	return 64;
}

static bool is_domain(const char *s)
{
	size_t n = strlen(s), label = 0;

	if (n == 0 || n > 253)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' &&
		    s[i] != '_' && (unsigned char)s[i] < 128)
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0;
}

/* local@domain:password, with a local part that is safe as a file name. */
static int check_user(const char *user)
{
	const char *at = strchr(user, '@'), *colon;
	char domain[256];
	size_t n;

	if (at == NULL || at == user || (colon = strchr(at, ':')) == NULL ||
	    colon[1] == '\0') {
		complain("--user %s: want ADDRESS:PASSWORD, as in "
		    "anna@example.com:secret", user);
		return -1;
	}
	for (const char *p = user; p < at; p++)
		if (*p == '/' || *p == ':' || (unsigned char)*p <= 32 ||
		    *p == 127 || (p == user && *p == '.')) {
			complain("--user %s: the part before @ has a character "
			    "that cannot be", user);
			return -1;
		}
	n = (size_t)(colon - at - 1);
	if (n >= sizeof(domain))
		n = 0;
	memcpy(domain, at + 1, n);
	domain[n] = '\0';
	if (!is_domain(domain)) {
		complain("--user %s: \"%s\" is no domain", user, domain);
		return -1;
	}
	return 0;
}

/* One line of main.cf that is no comment and continues none. */
static bool is_assignment(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");

	return n > 0 && s[n + strspn(s + n, " ")] == '=' &&
	    strchr(s, '\n') == NULL;
}

static int parse_options(struct init *in, int argc, char **argv)
{
	static const struct option options[] = {
		{ "port-base", required_argument, NULL, 'p' },
		{ "domain", required_argument, NULL, 'd' },
		{ "user", required_argument, NULL, 'u' },
		{ "set", required_argument, NULL, 's' }, { 0 } };
	char *end;
	long n;
	int c;

	in->base = 20000;
	in->domain = "example.test";
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			n = strtol(optarg, &end, 10);
			if (*end != '\0' || n < 1 || n > 64540) {
				complain("--port-base %s: want a number from "
				    "1 to 64540", optarg);
				return 64;
			}
			in->base = (int)n;
			break;
		case 'd':
			if (!is_domain(optarg)) {
				complain("--domain %s: that is no domain",
				    optarg);
				return 64;
			}
			in->domain = optarg;
			break;
		case 'u':
			if (check_user(optarg) < 0)
				return 64;
			if (in->nusers == MANY)
				return usage();
			in->users[in->nusers++] = optarg;
			break;
		case 's':
			if (!is_assignment(optarg)) {
				complain("--set %s: want PARAM=VALUE", optarg);
				return 64;
			}
			if (in->nsets == MANY)
				return usage();
			in->sets[in->nsets++] = optarg;
			break;
		default:
			return usage();
		}
	}
	return optind + 1 == argc ? 0 : usage();
}

static int check_ports(const struct init *in)
{
	int on = 1, rc = 0;

	for (size_t i = 0; i < NPORTS; i++) {
		int number = in->base + ports[i].number;
		struct sockaddr_in sin = { .sin_family = AF_INET,
			.sin_port = htons((uint16_t)number),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return -1;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
			complain("port %d (%s): %s; choose another "
			    "--port-base", number, ports[i].name,
			    strerror(errno));
			rc = -1;
		}
		close(fd);
	}
	return rc;
}

/* The directory is made, or was made empty by somebody. */
static int open_directory(struct init *in, const char *name)
{
	int fd;

	bool is_new = mkdir(name, 0755) == 0;

	if (!is_new && errno != EEXIST) {
		complain("%s: %s", name, strerror(errno));
		return -1;
	}
	in->dirfd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->dirfd < 0 || realpath(name, in->dir) == NULL) {
		complain("%s: %s", name, strerror(errno));
		if (is_new)
			(void)rmdir(name);
		return -1;
	}
	in->made_dir = is_new;
	if ((fd = openat(in->dirfd, "etc", O_PATH | O_CLOEXEC)) >= 0) {
		close(fd);
		complain("%s/etc is there already; an instance is made in a "
		    "new directory", in->dir);
		return -1;
	}
	if (strpbrk(in->dir, " \t\n\"{}$,") != NULL) {
		complain("%s: a directory with white space or one of \"{}$, "
		    "in its name cannot be written into main.cf", in->dir);
		return -1;
	}
	return 0;
}

static int write_file(const struct init *in, const char *name, mode_t mode,
    gid_t gid, const struct buf *b)
{
	int fd = sys_openat(in->dirfd, name, O_WRONLY | O_CREAT | O_EXCL |
	    O_NOFOLLOW, mode);
	int rc = -1;

	if (fd >= 0 && !b->failed && sys_write_all(fd, b->p, b->n) == 0 &&
	    sys_fchmod(fd, mode) == 0 &&
	    (!in->root || fchown(fd, 0, gid) == 0) && sys_fsync(fd) == 0)
		rc = 0;
	if (rc < 0)
		complain("%s/%s: %s", in->dir, name, strerror(errno));
	if (fd >= 0)
		sys_close(fd);
	return rc;
}

static bool was_seen(const struct init *in, size_t i)
{
	const char *d = strchr(in->users[i], '@') + 1;
	size_t n = strcspn(d, ":");

	if (strlen(in->domain) == n && strncasecmp(in->domain, d, n) == 0)
		return true;
	for (size_t k = 0; k < i; k++) {
		const char *e = strchr(in->users[k], '@') + 1;

		if (strcspn(e, ":") == n && strncasecmp(e, d, n) == 0)
			return true;
	}
	return false;
}

static bool is_set(const struct init *in, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < in->nsets; i++)
		if (strncmp(in->sets[i], name, n) == 0 &&
		    (in->sets[i][n] == '=' || in->sets[i][n] == ' '))
			return true;
	return false;
}

static void put(const struct init *in, struct buf *b, const char *name,
    const char *value)
{
	if (!is_set(in, name)) /* --set says it, below */
		buf_printf(b, "%s = %s\n", name, value);
}

static void put_path(const struct init *in, struct buf *b, const char *name,
    const char *prefix, const char *path)
{
	if (!is_set(in, name))
		buf_printf(b, "%s = %s%s/%s\n", name, prefix, in->dir, path);
}

static unsigned lines_in(struct str text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

static int write_main_cf(struct init *in)
{
	struct buf b;
	char text[300];
	int rc;

	buf_init(&b, 1024 * 1024);
	buf_append_c(&b, "# main.cf of a private instance, made by postern "
	    "init. The language is\n# Postfix's; main.cf(5) lists the "
	    "parameters.\n\n# Who we are\n");
	snprintf(text, sizeof(text), "mail.%s", in->domain);
	put(in, &b, "myhostname", text);
	put(in, &b, "mydomain", in->domain);
	put(in, &b, "myorigin", "$mydomain");
	put(in, &b, "recipient_delimiter", "+");
	put(in, &b, "mydestination", "$myhostname, localhost.$mydomain, "
	    "localhost");
	if (!is_set(in, "virtual_mailbox_domains")) {
		buf_printf(&b, "virtual_mailbox_domains = %s", in->domain);
		for (size_t i = 0; i < in->nusers; i++)
			if (!was_seen(in, i)) {
				const char *d = strchr(in->users[i], '@') + 1;

				buf_printf(&b, ", %.*s", (int)strcspn(d, ":"),
				    d);
			}
		buf_append_char(&b, '\n');
	}
	buf_append_c(&b, "\n# Where it listens, and who may relay without a "
	    "login: nobody\n");
	put(in, &b, "inet_interfaces", "loopback-only");
	put(in, &b, "mynetworks", "");
	buf_append_c(&b, "\n# All clients share one address here\n");
	put(in, &b, "smtpd_client_connection_count_limit", "0");
	put(in, &b, "login_client_connection_limit", "0");
	/* a session is a thread, not a process: idle clients are cheap */
	buf_append_c(&b, "\n# Many, so that idle clients keep nobody out\n");
	put(in, &b, "default_process_limit", "2000");
	buf_append_c(&b, "\n# Mailboxes grow as far as the disk allows\n");
	put(in, &b, "mailbox_size_limit", "0");
	put(in, &b, "virtual_mailbox_limit", "0");
	buf_append_c(&b, "\n# Files\n");
	put_path(in, &b, "queue_directory", "", "spool");
	put_path(in, &b, "data_directory", "", "data");
	put_path(in, &b, "virtual_mailbox_base", "", "mail");
	put_path(in, &b, "maillog_file", "", "log/maillog");
	put_path(in, &b, "alias_maps", "hash:", "etc/aliases");
	put_path(in, &b, "alias_database", "hash:", "etc/aliases");
	put_path(in, &b, "virtual_alias_maps", "texthash:", "etc/virtual");
	buf_append_c(&b, "\n# TLS, signed by etc/ca.pem\n");
	put_path(in, &b, "smtpd_tls_cert_file", "", "etc/cert.pem");
	put_path(in, &b, "smtpd_tls_key_file", "", "keys/key.pem");
	put(in, &b, "smtpd_tls_security_level", "may");
	if (in->root) {
		buf_append_c(&b, "\n# Users of the programs, numbers that no "
		    "account should have\n");
		snprintf(text, sizeof(text), "%d", UID_BASE);
		put(in, &b, "service_uid_base", text);
	}
	if (in->nsets > 0)
		buf_append_c(&b, "\n# --set\n");
	in->first_set = lines_in(buf_str(&b)) + 1;
	for (size_t i = 0; i < in->nsets; i++) {
		const char *eq = strchr(in->sets[i], '=');

		buf_printf(&b, "%.*s = %s\n", (int)(eq - in->sets[i]),
		    in->sets[i], eq + 1);
	}
	rc = write_file(in, "etc/main.cf", 0644, 0, &b);
	buf_fini(&b);
	return rc;
}

static int write_master_cf(const struct init *in)
{
	struct buf b;
	int rc;

	buf_init(&b, 65536);
	buf_append_c(&b, "# master.cf of a private instance, made by postern "
	    "init; master.cf(5)\n#\n# service type private unpriv chroot "
	    "wakeup maxproc command + args\n");
	for (size_t i = 0; i < NPORTS; i++)
		buf_printf(&b, "%d inet n - - - - %s\n",
		    in->base + ports[i].number, ports[i].service);
	buf_append_c(&b,
	    "pickup unix n - - - 1 pickup\n"
	    "showq unix n - - - - showq\n"
	    "cleanup unix n - - - 0 cleanup\n"
	    "qmgr unix n - - - 1 qmgr\n"
	    "rewrite unix - - - - - trivial-rewrite\n"
	    "bounce unix - - - - 0 bounce\n"
	    "smtp unix - - - - - smtp\n"
	    "relay unix - - - - - smtp\n"
	    "local unix - - - - - local\n"
	    "virtual unix - - - - - virtual\n"
	    "lmtp unix - - - - - lmtp\n");
	rc = write_file(in, "etc/master.cf", 0644, 0, &b);
	buf_fini(&b);
	return rc;
}

static int write_users(const struct init *in)
{
	struct buf b;
	char hash[256];
	int rc = 0;

	buf_init(&b, 1024 * 1024);
	buf_append_c(&b, "# address:{SCHEME}hash:uid:gid::directory below "
	    "virtual_mailbox_base:\n# change it with: postern user "
	    "add|passwd|del\n");
	for (size_t i = 0; i < in->nusers && rc == 0; i++) {
		const char *user = in->users[i];
		int n = (int)(strchr(strchr(user, '@'), ':') - user);
		int local = (int)(strchr(user, '@') - user);

		rc = hash_password(user + n + 1, hash, sizeof(hash));
		for (int k = 0; k < n; k++)
			buf_append_char(&b, ascii_lower(user[k]));
		buf_printf(&b, ":%s:%u:%u::", hash,
		    in->root ? UID_MAIL : (unsigned)geteuid(),
		    in->root ? UID_MAIL : (unsigned)getegid());
		for (int k = local + 1; k < n; k++)
			buf_append_char(&b, ascii_lower(user[k]));
		buf_append_char(&b, '/');
		for (int k = 0; k < local; k++)
			buf_append_char(&b, ascii_lower(user[k]));
		buf_append_c(&b, ":\n");
	}
	/* hashes are for auth (and root) alone */
	if (rc == 0)
		rc = write_file(in, "etc/users", 0640, UID_BASE + 11, &b);
	buf_fini(&b);
	return rc;
}

static int write_aliases(const struct init *in)
{
	struct buf b;
	int rc, n;

	buf_init(&b, 65536);
	buf_append_c(&b, "# aliases(5) for the local domains; after a change: "
	    "newaliases\nmailer-daemon: postmaster\n");
	if (in->nusers > 0) {
		n = (int)(strchr(strchr(in->users[0], '@'), ':') -
		    in->users[0]);
		buf_printf(&b, "postmaster: %.*s\nabuse: postmaster\n"
		    "root: postmaster\n", n, in->users[0]);
	}
	rc = write_file(in, "etc/aliases", 0644, 0, &b);
	buf_reset(&b);
	buf_append_c(&b, "# virtual_alias_maps: address and what it stands "
	    "for; read again when changed\n");
	if (in->nusers > 0) {
		n = (int)(strchr(strchr(in->users[0], '@'), ':') -
		    in->users[0]);
		/* root: what cron(8) sends goes to $myorigin */
		buf_printf(&b, "postmaster@%s %.*s\nabuse@%s %.*s\n"
		    "root@%s %.*s\n", in->domain, n, in->users[0],
		    in->domain, n, in->users[0], in->domain, n, in->users[0]);
	}
	if (rc == 0)
		rc = write_file(in, "etc/virtual", 0644, 0, &b);
	buf_fini(&b);
	return rc;
}

static int write_certificates(const struct init *in)
{
	struct certificate_pems pems;
	char host[300];
	int rc = -1;

	snprintf(host, sizeof(host), "mail.%s", in->domain);
	if (certificate_make(host, &pems) < 0) {
		complain("cannot make the certificates");
		return -1;
	}
	if (write_file(in, "etc/ca.pem", 0644, 0, &pems.ca) == 0 &&
	    write_file(in, "keys/ca-key.pem", 0600, 0, &pems.ca_key) == 0 &&
	    write_file(in, "etc/cert.pem", 0644, 0, &pems.cert) == 0 &&
	    write_file(in, "keys/key.pem", 0600, 0, &pems.key) == 0)
		rc = 0;
	certificate_wipe(&pems);
	return rc;
}

static int make_directories(struct init *in)
{
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		int rc = mkdirat(in->dirfd, dirs[i].name, dirs[i].mode);

		if (rc == 0)
			in->made = i + 1;
		if (rc < 0 ||
		    fchmodat(in->dirfd, dirs[i].name, dirs[i].mode, 0) < 0 ||
		    (in->root && fchownat(in->dirfd, dirs[i].name,
			dirs[i].uid, dirs[i].uid, 0) < 0)) {
			complain("%s/%s: %s", in->dir, dirs[i].name,
			    strerror(errno));
			return -1;
		}
	}
	return 0;
}

/* Takes away a directory that was made here, with the files in it. */
static void remove_directory(const struct init *in, const char *name)
{
	int fd = openat(in->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			(void)unlinkat(fd, e->d_name, 0);
	if (d != NULL)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	(void)unlinkat(in->dirfd, name, AT_REMOVEDIR);
}

/* An instance that could not be made is not there by half. */
static void undo(const struct init *in)
{
	for (size_t i = in->made; i-- > 0;)
		remove_directory(in, dirs[i].name);
	if (in->made_dir)
		(void)rmdir(in->dir);
}

/* --- what --set says --- */

/* The line of main.cf's --set that a problem is about, or NULL. */
static const char *set_of(const struct init *in, const struct config_problem *p)
{
	if (strcmp(p->file, "main.cf") != 0 || p->line < in->first_set ||
	    p->line - in->first_set >= in->nsets)
		return NULL;
	return in->sets[p->line - in->first_set];
}

static bool is_unknown(const struct config *c, const char *set)
{
	char name[256];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(set, " ="), set);
	return !config_is_known(c, name);
}

/* What init itself writes is good, so a problem comes from --set. 0, or the
 * exit status: 64 for an unknown name, 65 for what is no value. */
static int judge(const struct init *in, const struct config *c)
{
	size_t n;
	const struct config_problem *p = config_problems(c, &n);
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		const char *set = set_of(in, &p[i]);
		bool unknown = set != NULL && is_unknown(c, set);

		complain("%s%s%s%s%s%s%s%s", p[i].is_error || unknown ? ""
		    : "warning: ", set ? "--set " : "", set ? set : "",
		    set ? ": " : "", p[i].text, p[i].remedy ? " (" : "",
		    p[i].remedy ? p[i].remedy : "", p[i].remedy ? ")" : "");
		if (unknown)
			rc = 64;
		else if (p[i].is_error && rc == 0)
			rc = 65;
	}
	return rc;
}

static int check_sets(const struct init *in)
{
	int fd = openat(in->dirfd, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char etc[4200];
	struct config *c;
	int rc = 1;

	snprintf(etc, sizeof(etc), "%s/etc", in->dir);
	if (fd >= 0 && (c = config_read(fd, etc, 0)) != NULL) {
		rc = judge(in, c);
		config_free(&c);
	} else {
		complain("%s: %s", etc, strerror(fd < 0 ? errno : ENOMEM));
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static void print_values(const struct init *in)
{
	char path[4200];
	int fd;

	for (size_t i = 0; i < NPORTS; i++)
		printf("%s=%d\n", ports[i].name, in->base + ports[i].number);
	printf("config=%s/etc\nca=%s/etc/ca.pem\nlog=%s/log/maillog\n",
	    in->dir, in->dir, in->dir);
	if ((fd = find_program("sendmail", path, sizeof(path))) >= 0) {
		close(fd);
		printf("sendmail=%s\n", path);
	}
	printf("maildir=%s/mail/%%d/%%n\n", in->dir);
}

/* 0, or the exit status. */
static int fill(struct init *in)
{
	struct context own;
	char etc[4200];
	int rc;

	if (make_directories(in) < 0 || write_main_cf(in) < 0 ||
	    write_master_cf(in) < 0)
		return 1;
	if ((rc = check_sets(in)) != 0)
		return rc;
	if (write_users(in) < 0 || write_aliases(in) < 0 ||
	    write_certificates(in) < 0)
		return 1;
	snprintf(etc, sizeof(etc), "%s/etc", in->dir);
	own = (struct context){ .config_dir = etc, .program = "postern" };
	return init_build_tables(&own) < 0 ? 1 : 0;
}

static int run_init(const struct context *ctx, int argc, char **argv)
{
	struct init *in = calloc(1, sizeof(*in));
	int rc;

	(void)ctx;
	if (in == NULL)
		return 71;
	in->root = geteuid() == 0;
	if ((rc = parse_options(in, argc, argv)) != 0)
		goto out;
	rc = 1;
	if (check_ports(in) < 0)
		goto out;
	if (open_directory(in, argv[optind]) == 0)
		rc = fill(in);
	if (rc == 0)
		print_values(in);
	else
		undo(in);
out:
	free(in);
	return rc;
}

const struct command command_init = { "init", NULL, run_init,
	"DIR [--port-base N] [--domain NAME] [--user ADDRESS:PASSWORD]... "
	"[--set PARAM=VALUE]...",
	"makes a complete instance of its own in DIR and prints its ports" };
