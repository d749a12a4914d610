/*
 * check_keys.c - certificates and private keys, parsed as OpenSSL parses them
 *
 * `keys` signs with any key of smtpd_tls_key_file or smtpd_tls_cert_file that
 * belongs to the first certificate of smtpd_tls_cert_file, so that is what is
 * asked here; with smtpd_tls_chain_files, that each chain's first certificate
 * has a key somewhere in these. Only RSA and EC keys sign (keys/sign.c). A
 * service may have files of its own (-o in master.cf).
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config/commands.h"
#include "config/params.h"
#include "postern/check.h"

#define PEM_MAX (1024 * 1024)	/* what keys reads */
#define KEYS_MAX 64		/* what keys holds */
#define CHAINS_MAX 64		/* what a program takes */

/* What a PEM file holds. All zero: it was not read. */
struct pem_file {
	char path[4096];	/* "": no file */
	bool read, cut_short;	/* cut_short: a block has no whole text */
	/* The first certificate, and the first ones behind a key: chains. */
	X509 *leaves[CHAINS_MAX];
	size_t leaf_count, certificate_blocks;
	bool in_chain;		/* the next certificate is not the first */
	EVP_PKEY *keys[KEYS_MAX];
	size_t key_count, key_blocks;
	const char *bad_key;	/* why one was not taken */
	bool bad_certificate;	/* one of them, perhaps not the first */
	char other[80];		/* the label of the first block of neither */
};

static void add_key(struct pem_file *f, const char *label, const char *header,
    const unsigned char *der, long n)
{
	EVP_PKEY *key;

	f->key_blocks++;
	f->in_chain = false;
	/* Nobody is there to type a pass phrase. */
	if (*header != '\0' || strcmp(label, "ENCRYPTED PRIVATE KEY") == 0) {
		f->bad_key = "has a pass phrase";
		return;
	}
	if ((key = d2i_AutoPrivateKey(NULL, &der, n)) == NULL) {
		f->bad_key = "is damaged";
	} else if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC")) {
		f->bad_key = "is neither an RSA nor an EC key";
		EVP_PKEY_free(key);
	} else if (f->key_count < KEYS_MAX) {
		f->keys[f->key_count++] = key;
	} else {
		EVP_PKEY_free(key);
	}
}

/* RFC 7468 2 and 5.1: the label says what the block holds. */
static void add_block(struct pem_file *f, const char *label,
    const char *header, const unsigned char *der, long n)
{
	if (str_ends(str_of(label), STR("PRIVATE KEY"))) {
		add_key(f, label, header, der, n);
	} else if (strcmp(label, PEM_STRING_X509) == 0 ||
	    strcmp(label, PEM_STRING_X509_OLD) == 0 ||
	    strcmp(label, PEM_STRING_X509_TRUSTED) == 0) {
		/* What a trusted one has behind it is of no use here. */
		X509 *certificate = d2i_X509(NULL, &der, n);

		f->certificate_blocks++;
		if (certificate == NULL)
			f->bad_certificate = true;
		else if (!f->in_chain && f->leaf_count < CHAINS_MAX)
			f->leaves[f->leaf_count++] = certificate;
		else
			X509_free(certificate);
		f->in_chain = true;
	} else if (f->other[0] == '\0') {
		snprintf(f->other, sizeof(f->other), "%s", label);
	}
}

static void parse_pem(struct pem_file *f, struct str text)
{
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	char *label, *header;
	unsigned char *der;
	long n;

	if (bio == NULL)
		return;
	f->read = true;
	ERR_clear_error();
	while (PEM_read_bio(bio, &label, &header, &der, &n) == 1) {
		add_block(f, label, header, der, n);
		OPENSSL_free(label);
		OPENSSL_free(header);
		OPENSSL_clear_free(der, (size_t)n);
		ERR_clear_error();
	}
	f->cut_short = ERR_GET_REASON(ERR_peek_last_error()) !=
	    PEM_R_NO_START_LINE;
	ERR_clear_error();
	BIO_free(bio);
}

/* What cannot be read is left as not read: who runs the check may have no
 * right to. */
static void read_pem(struct pem_file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct buf text;
	ssize_t n;

	if (fd < 0)
		return;
	buf_init(&text, PEM_MAX);
	/* All the room at once: growing would leave copies of keys behind. */
	if (buf_reserve(&text, PEM_MAX) != NULL) {
		while ((n = read(fd, text.p + text.n, PEM_MAX - text.n)) > 0)
			buf_added(&text, (size_t)n);
		if (n == 0)
			parse_pem(f, buf_str(&text));
		OPENSSL_cleanse(text.p, text.cap);
	}
	buf_fini(&text);
	close(fd);
}

static void forget(struct pem_file *f)
{
	while (f->leaf_count > 0)
		X509_free(f->leaves[--f->leaf_count]);
	while (f->key_count > 0)
		EVP_PKEY_free(f->keys[--f->key_count]);
}

/* In words, what a file without what it should have holds instead. */
static const char *contents(const struct pem_file *f, char *out, size_t size)
{
	if (f->certificate_blocks > 0)
		return "a certificate";
	if (f->key_blocks > 0)
		return "a private key";
	if (f->other[0] == '\0')
		return "nothing in PEM";
	snprintf(out, size, "a block \"%s\"", f->other);
	return out;
}

/* Whose files are looked at: what main.cf says, or a service that says other
 * things. */
struct place {
	struct check *k;
	const struct master_service *service;	/* NULL: main.cf */
	struct str *pairs;			/* "name=value" */
	size_t count;
};

/* Empty for a default, which is what those have that are asked for here. (Not
 * all of them may have values that a program would take.) */
static const char *value_of(const struct place *at, const char *name)
{
	for (size_t i = at->count; i-- > 0;) {
		struct str rest = at->pairs[i], word;

		if (str_split(&rest, '=', &word) && str_eq_c(word, name))
			return rest.p; /* the pairs are C strings */
	}
	return "";
}

#define report(at, is_error, param, ...) check_report_service((at)->k, \
    (at)->service, is_error, param, __VA_ARGS__)

/* The file is there and may be looked into: fills `f`. */
static bool open_file(const struct place *at, const char *param,
    struct str path, struct pem_file *f)
{
	struct stat st;

	if (str_to_c(path, f->path, sizeof(f->path)) < 0 ||
	    strcmp(f->path, "none") == 0) {
		f->path[0] = '\0';
		return false;
	}
	if (stat(f->path, &st) < 0) {
		report(at, errno != EACCES, param, NULL, "%s: %s",
		    f->path, strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		report(at, true, param, NULL, "%s is no regular file",
		    f->path);
		return false;
	}
	read_pem(f);
	return true;
}

/* One that cannot be read is taken to hold what it is named for. */
static void check_mode(const struct place *at, const char *param,
    const struct pem_file *f)
{
	struct stat st;

	if ((!f->read || f->key_blocks > 0) && stat(f->path, &st) == 0 &&
	    (st.st_mode & 077 & ~040))
		report(at, false, param, "chmod 0600 it",
		    "%s holds a private key and has mode %04o", f->path,
		    (unsigned)st.st_mode & 07777);
}

static void check_certificate(const struct place *at, const struct pem_file *f)
{
	const char *param = "smtpd_tls_cert_file";
	char holds[100];

	if (!f->read)
		return;
	/* Servers take all of them or none. */
	if (f->bad_certificate || f->cut_short)
		report(at, true, param, "copy it again from who issued it",
		    "a certificate in %s is damaged", f->path);
	else if (f->leaf_count == 0)
		report(at, true, param, "name the file with the certificate "
		    "and those above it, in PEM", "%s holds no certificate; "
		    "it holds %s", f->path, contents(f, holds, sizeof(holds)));
}

static bool belongs(const struct pem_file *f, X509 *leaf)
{
	bool found = false;

	for (size_t i = 0; i < f->key_count && !found; i++)
		found = X509_check_private_key(leaf, f->keys[i]) == 1;
	ERR_clear_error();
	return found;
}

/* A key that does not sign. Was there one? */
static bool check_bad_key(const struct place *at, const char *param,
    const struct pem_file *f)
{
	if (f->bad_key == NULL)
		return false;
	report(at, true, param, strcmp(f->bad_key, "has a pass phrase") == 0
	    ? "write it without one: openssl pkey -in OLD -out NEW"
	    : strcmp(f->bad_key, "is damaged") == 0 ? "copy it again"
	    : "make an RSA or EC key and a certificate for it",
	    "the private key in %s %s", f->path, f->bad_key);
	return true;
}

/* param is where the key's file was named. */
static void check_key(const struct place *at, const char *param,
    const struct pem_file *f, const struct pem_file *cert)
{
	char holds[100];

	if (!f->read)
		return;
	if (f->cut_short) {
		/* The certificate's file was told of. */
		if (strcmp(f->path, cert->path) != 0)
			report(at, true, param, "copy it again",
			    "the private key in %s is damaged", f->path);
		return;
	}
	if (f->key_blocks == 0)
		report(at, true, param, "name the file with the private "
		    "key, in PEM, with smtpd_tls_key_file",
		    "%s holds no private key; it holds %s", f->path,
		    contents(f, holds, sizeof(holds)));
	else if (!check_bad_key(at, param, f) && cert->leaf_count > 0 &&
	    !belongs(f, cert->leaves[0]) && !belongs(cert, cert->leaves[0]))
		report(at, true, param, "name the key that the "
		    "certificate was made for",
		    "the private key in %s does not belong to the certificate "
		    "in %s", f->path, cert->path);
}

/* Whether the service, or main.cf, names it itself. */
static bool is_set(const struct place *at, const char *param)
{
	return check_overrides(at->service, param) ||
	    config_raw(at->k->c, param) != NULL;
}

/* The certificate of servers and its key. Is there one? */
static bool check_pair(const struct place *at)
{
	struct str cert_path = str_of(value_of(at, "smtpd_tls_cert_file")),
	    key_path = str_of(value_of(at, "smtpd_tls_key_file"));
	/* A key that was not named is looked for beside the certificate. */
	const char *param = is_set(at, "smtpd_tls_key_file")
	    ? "smtpd_tls_key_file" : "smtpd_tls_cert_file";
	struct pem_file cert = { .read = false }, key = { .read = false };
	bool told = false;

	if (cert_path.n > 0) {
		if (open_file(at, "smtpd_tls_cert_file", cert_path, &cert))
			check_certificate(at, &cert);
		else
			told = str_eq(key_path, cert_path);
	}
	if (key_path.n > 0 && !told && open_file(at, param, key_path, &key)) {
		check_mode(at, param, &key);
		check_key(at, param, &key, &cert);
	}
	forget(&cert);
	forget(&key);
	return cert.path[0] != '\0' || key.path[0] != '\0';
}

/* --- files with chains --- */

static const char *const chain_param = "smtpd_tls_chain_files";

/* Servers take all of them or none. */
static bool is_whole(const struct pem_file *f)
{
	return f->read && f->bad_key == NULL && !f->bad_certificate &&
	    !f->cut_short;
}

/* Every chain has its key in one of the files. */
static void check_chain_keys(const struct place *at,
    const struct pem_file *files, size_t n)
{
	size_t chains = 0;

	for (size_t i = 0; i < n; i++)
		if (!is_whole(&files[i]))
			return; /* it was told of, or cannot be told */
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < files[i].leaf_count; j++, chains++) {
			bool found = false;

			for (size_t m = 0; m < n && !found; m++)
				found = belongs(&files[m], files[i].leaves[j]);
			if (!found)
				report(at, true, chain_param, "write the key "
				    "that it was made for in front of it",
				    "certificate %zu in %s has no private key",
				    j + 1, files[i].path);
		}
	if (chains == 0 && n > 0)
		report(at, true, chain_param, "write the certificate and "
		    "those above it behind their key, in PEM",
		    "%s holds no certificate", files[n - 1].path);
	if (chains > CHAINS_MAX)
		report(at, true, chain_param, "leave some out", "there are "
		    "%zu chains, and %d at the most", chains, CHAINS_MAX);
}

static void check_chain_file(const struct place *at, struct str path,
    struct pem_file *f)
{
	char holds[100];

	if (!open_file(at, chain_param, path, f))
		return;
	check_mode(at, chain_param, f);
	if (!f->read)
		return;
	if (f->cut_short || f->bad_certificate)
		report(at, true, chain_param, "copy it again",
		    "a key or a certificate in %s is damaged", f->path);
	else if (!check_bad_key(at, chain_param, f) && f->key_blocks == 0 &&
	    f->certificate_blocks == 0)
		report(at, true, chain_param, "name files with keys and the "
		    "certificates behind them, in PEM",
		    "%s holds no key and no certificate; it holds %s",
		    f->path, contents(f, holds, sizeof(holds)));
}

/* Is there one? All files count as one, in their order. */
static bool check_chains(const struct place *at)
{
	struct str rest = str_of(value_of(at, "smtpd_tls_chain_files")), word;
	struct pem_file *files = calloc(CHAINS_MAX, sizeof(*files));
	size_t n = 0;

	if (files == NULL)
		return false;
	while (param_word(&rest, false, &word)) {
		if (str_eq_c(word, "none"))
			continue;
		if (n == CHAINS_MAX) {
			report(at, true, chain_param, "leave some out",
			    "there are more than %d files", CHAINS_MAX);
			break;
		}
		files[n].in_chain = n > 0 && files[n - 1].in_chain;
		check_chain_file(at, word, &files[n++]);
	}
	check_chain_keys(at, files, n);
	for (size_t i = 0; i < n; i++)
		forget(&files[i]);
	free(files);
	return n > 0;
}

/* --- all services --- */

static bool wants_tls(const struct place *at)
{
	const char *level = value_of(at, "smtpd_tls_security_level");

	return strcmp(level, "may") == 0 || strcmp(level, "encrypt") == 0 ||
	    strcmp(value_of(at, "smtpd_tls_wrappermode"), "yes") == 0 ||
	    strcmp(value_of(at, "login_tls_wrappermode"), "yes") == 0;
}

/* What a service says of its own may be meant for itself alone. */
static void check_ignored(const struct place *at)
{
	const char *param = "smtpd_tls_cert_file";
	bool own = at->service == NULL || check_overrides(at->service, param);

	if (own && *value_of(at, param) != '\0')
		report(at, false, param, "leave one of the two out", "it is "
		    "ignored because smtpd_tls_chain_files is set");
}

/* False: it wants TLS and has no certificate. */
static bool check_place(const struct place *at)
{
	if (!check_chains(at))
		return check_pair(at) || !wants_tls(at);
	check_ignored(at);
	return true;
}

static bool tell_missing(const struct place *at)
{
	report(at, true, "smtpd_tls_cert_file", "set smtpd_tls_cert_file and "
	    "smtpd_tls_key_file", "TLS is wanted and there is no certificate");
	return true;
}

/* Whether a line of master.cf has to be looked at for itself. */
static bool is_other(const struct master_service *s)
{
	static const char *const params[] = { "smtpd_tls_chain_files",
		"smtpd_tls_cert_file", "smtpd_tls_key_file" };
	const struct master_command *c = command_find(str_of(s->command));

	if (c == NULL || c->program == NULL ||
	    (strcmp(c->program, "smtpd") != 0 &&
		strcmp(c->program, "login") != 0))
		return false;
	for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		if (check_overrides(s, params[i]))
			return true;
	return false;
}

static void check_authorities(struct check *k)
{
	struct str path = str_of(check_value(k, "smtp_tls_CAfile"));
	struct place at = { .k = k };
	struct pem_file f = { .read = false };

	if (path.n > 0)
		(void)open_file(&at, "smtp_tls_CAfile", path, &f);
	forget(&f);
}

void check_keys(struct check *k)
{
	size_t n;
	const struct master_service *s = config_services(k->c, &n);
	struct arena *arena = arena_new(64 * 1024 * 1024);
	bool told = false;

	/* main.cf alone, then each service */
	for (size_t i = 0; arena != NULL && i <= n; i++) {
		struct place at = { .k = k, .service = i > 0 ? &s[i - 1]
		    : NULL };

		if (config_service_values(k->c, at.service, arena, &at.pairs,
			&at.count) < 0)
			break;
		if (i == 0 || is_other(at.service))
			told |= !check_place(&at) && tell_missing(&at);
		else if (!told && wants_tls(&at) &&
		    *value_of(&at, "smtpd_tls_chain_files") == '\0' &&
		    *value_of(&at, "smtpd_tls_cert_file") == '\0')
			told = tell_missing(&at);
	}
	arena_free(&arena);
	check_authorities(k);
}
