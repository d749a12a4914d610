/*
 * files.c - files that master opens for a program, since only root may read
 * them or since the program sees no files
 *
 * `keys` gets the files that may hold private keys as they are. Who meets the
 * network gets certificates alone, one chain a descriptor, copied into memory:
 * a file may hold a key beside them, and to have the file open is to have the
 * key.
 *
 * What is missing stays so, and the program says what it does without it. What
 * this moment denies (files_is_passing()) it must have: the start is tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/log.h"
#include "base/sys.h"
#include "master/master.h"
#include "msgs/control.h"
#include "service/spawn.h"

#define PEM_MAX (1024 * 1024)
#define CHAINS_MAX 64	/* of a program; as many as it takes */
#define PARAMS_MAX (4 * 1024 * 1024)

bool files_is_passing(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM ||
	    err == EINTR || err == EIO;
}

/* The file, or -1; *rc is what to return then. */
static int open_file(const char *name, const char *path, int *rc)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = errno;

	if (fd < 0) {
		log_warn("%s %s: %s", name, path, strerror(err));
		*rc = files_is_passing(err) ? -1 : 0;
	}
	return fd;
}

/* 1, 0 when it is missing, -1. */
static int give_file(struct conv *c, const char *name, const char *path)
{
	int rc, fd = open_file(name, path, &rc);

	if (fd < 0)
		return rc;
	rc = spawn_give(c, CONTROL_FILE, name, fd);
	close(fd);
	return rc < 0 ? -1 : 1;
}

/* --- certificates --- */

/* The chains of a program. */
struct chains {
	struct conv *c;
	const char *param;
	struct buf chain;	/* the one at hand */
	bool mixed;		/* a private key ends it */
	bool any_file;		/* there was one to be read */
	size_t count;
};

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Nobody changes it. There are hosts that make none which could be executed,
 * and kernels before 6.3, which do not know that there are others. */
static int make_file(struct str text)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("certificates", flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("certificates", flags);
	if (fd >= 0 && sys_write_all(fd, text.p, text.n) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW |
		F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
		return fd;
	log_warn("certificates in memory: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The chain at hand is whole. */
static int give_chain(struct chains *to)
{
	char name[CONTROL_NAME_MAX];
	int fd, rc;

	if (to->count == CHAINS_MAX) {
		log_warn("%s: more than %d chains", to->param, CHAINS_MAX);
		return 0;
	}
	if ((fd = make_file(buf_str(&to->chain))) < 0)
		return -1;
	control_nth_name(name, to->param, to->count);
	rc = spawn_give(to->c, CONTROL_FILE, name, fd);
	close(fd);
	to->count++;
	buf_reset(&to->chain);
	return rc;
}

/* A text without any certificate makes an empty file: who gets it says so. */
static int give_last(struct chains *to)
{
	if (to->chain.n > 0 || (to->any_file && to->count == 0))
		return give_chain(to);
	return 0;
}

/* RFC 7468 2: the label of "-----BEGIN label-----"; else empty. */
static struct str label_of(struct str line)
{
	struct str head = STR("-----BEGIN "), tail = STR("-----");

	line = str_trim(line);
	if (!str_starts(line, head) || !str_ends(line, tail) ||
	    line.n < head.n + tail.n)
		return STR_NONE;
	return str_sub(line, head.n, line.n - head.n - tail.n);
}

static bool is_certificate(struct str label)
{
	return str_eq_c(label, "CERTIFICATE") ||
	    str_eq_c(label, "X509 CERTIFICATE") ||
	    str_eq_c(label, "TRUSTED CERTIFICATE");
}

/* Takes the certificates of a PEM text. */
static int take_text(struct chains *to, struct str text)
{
	struct str line, label;
	bool copied = false;

	to->any_file = true;
	for (; text.n > 0; text = str_from(text, line.n)) {
		ssize_t end = str_chr(text, '\n');

		line = str_sub(text, 0, end < 0 ? text.n : (size_t)end + 1);
		label = label_of(line);
		if (to->mixed && to->chain.n > 0 &&
		    str_ends(label, STR("PRIVATE KEY")) && give_chain(to) < 0)
			return -1;
		/* Never past the end of a block that was cut short. */
		if (label.n > 0)
			copied = is_certificate(label);
		if (copied && buf_append(&to->chain, line) < 0) {
			log_warn("%s: more than %d octets", to->param,
			    PEM_MAX);
			return 0;
		}
		if (label.n == 0 && str_starts(line, STR("-----")))
			copied = false;
	}
	/* A last line without an end is none of the next file's. */
	if (to->chain.n > 0 && to->chain.p[to->chain.n - 1] != '\n')
		(void)buf_append_char(&to->chain, '\n');
	return 0;
}

static int take_file(struct chains *to, const char *path)
{
	int rc, fd = open_file(to->param, path, &rc);
	struct buf text;
	ssize_t n;
	char *p;

	/* What follows belongs to none that came before. */
	if (fd < 0)
		return rc < 0 || to->chain.n == 0 ? rc : give_chain(to);
	rc = -1;
	buf_init(&text, PEM_MAX);
	/* All the room at once: growing would leave copies of keys behind. */
	if ((p = buf_reserve(&text, PEM_MAX)) != NULL) {
		if ((n = sys_pread_full(fd, p, PEM_MAX, 0)) < 0) {
			log_warn("%s %s: %s", to->param, path,
			    strerror(errno));
			rc = files_is_passing(errno) ? -1 : 0;
		} else {
			rc = take_text(to, str_n(p, (size_t)n));
			explicit_bzero(p, (size_t)n);
		}
	}
	buf_fini(&text);
	close(fd);
	return rc;
}

/* --- what the parameters name --- */

static bool is_named(struct str path)
{
	return path.n > 0 && !str_eq_c(path, "none");
}

/* smtpd_tls_chain_files, where it is set, comes instead of the older two; its
 * files count as one, in their order. */
static int take_certificates(struct chains *to, const struct params *p)
{
	struct str rest = str_of(p->smtpd_tls_chain_files), word;
	bool any = false;
	char path[4100];

	to->param = "smtpd_tls_chain_files";
	to->mixed = true;
	while (param_word(&rest, false, &word)) {
		any |= is_named(word);
		if (is_named(word) && str_to_c(word, path, sizeof(path)) == 0 &&
		    take_file(to, path) < 0)
			return -1;
	}
	if (any || !is_named(str_of(p->smtpd_tls_cert_file)))
		return 0;
	to->param = "smtpd_tls_cert_file";
	to->mixed = false;
	return take_file(to, p->smtpd_tls_cert_file);
}

static int give_certificates(struct conv *c, const struct params *p)
{
	struct chains to = { .c = c };
	int rc;

	buf_init(&to.chain, PEM_MAX);
	rc = take_certificates(&to, p);
	if (rc == 0)
		rc = give_last(&to);
	buf_fini(&to.chain);
	return rc;
}

/* Parameters that name files with private keys. */
enum key_param { CHAIN_FILES, KEY_FILE, CERT_FILE, KEY_PARAMS };
static const char *const key_params[KEY_PARAMS] = { "smtpd_tls_chain_files",
	"smtpd_tls_key_file", "smtpd_tls_cert_file" };

/* What `keys` was given already: services share their files. */
struct key_files {
	struct conv *c;
	struct arena *arena;
	const char *paths[CHAINS_MAX];
	size_t count, given[KEY_PARAMS];
};

static int give_key_file(struct key_files *to, enum key_param param,
    struct str path)
{
	char name[CONTROL_NAME_MAX];
	int rc;

	for (size_t i = 0; i < to->count; i++)
		if (str_eq_c(path, to->paths[i]))
			return 0;
	if (!is_named(path))
		return 0;
	if (to->count == CHAINS_MAX) {
		log_warn("%s: more than %d files with keys",
		    key_params[param], CHAINS_MAX);
		return 0;
	}
	to->paths[to->count] = arena_cstr(to->arena, path);
	if (to->paths[to->count] == NULL)
		return -1;
	control_nth_name(name, key_params[param], to->given[param]);
	rc = give_file(to->c, name, to->paths[to->count++]);
	if (rc > 0)
		to->given[param]++;
	return rc < 0 ? -1 : 0;
}

static int give_keys_of(struct key_files *to, const struct params *p)
{
	struct str rest = str_of(p->smtpd_tls_chain_files), word;
	bool any = false;

	while (param_word(&rest, false, &word)) {
		any |= is_named(word);
		if (give_key_file(to, CHAIN_FILES, word) < 0)
			return -1;
	}
	if (any)
		return 0;
	if (give_key_file(to, KEY_FILE, str_of(p->smtpd_tls_key_file)) < 0)
		return -1;
	return give_key_file(to, CERT_FILE, str_of(p->smtpd_tls_cert_file));
}

static bool has_certificates(const struct group *g)
{
	return strcmp(g->row->name, "smtpd") == 0 ||
	    strcmp(g->row->name, "login") == 0;
}

/* The parameters of a service: its line of master.cf may say others. */
static int load_params(const struct group *g, struct params *p,
    struct arena *arena)
{
	const char *why;

	if (params_load(p, g->pairs, g->npairs, arena, &why) == 0)
		return 0;
	log_warn("parameters of %s: %s", g->service, why);
	return -1;
}

static int give_keys(struct conv *c, const struct plan *plan,
    struct arena *arena)
{
	struct key_files to = { .c = c, .arena = arena };
	const struct group *g;
	struct params p;

	TAILQ_FOREACH(g, &plan->groups, link)
		if (has_certificates(g) && (load_params(g, &p, arena) < 0 ||
		    give_keys_of(&to, &p) < 0))
			return -1;
	return 0;
}

int files_give(struct conv *c, const struct plan *plan, const struct group *g)
{
	struct arena *arena;
	struct params p;
	int rc = 0;

	if (strcmp(g->row->name, "dns") == 0)
		return give_file(c, "resolv.conf", "/etc/resolv.conf") < 0
		    ? -1 : 0;
	if (!has_certificates(g) && strcmp(g->row->name, "keys") != 0)
		return 0;
	if ((arena = arena_new(PARAMS_MAX)) == NULL)
		return -1;
	if (!has_certificates(g))
		rc = give_keys(c, plan, arena);
	else if ((rc = load_params(g, &p, arena)) == 0)
		rc = give_certificates(c, &p);
	arena_free(&arena);
	return rc;
}
