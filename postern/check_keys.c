/*
 * check_keys.c - certificates and private keys, parsed as OpenSSL parses them
 *
 * `keys` signs with any key of smtpd_tls_key_file or smtpd_tls_cert_file that
 * belongs to the first certificate of smtpd_tls_cert_file, so that is what is
 * asked here. Only RSA and EC keys sign (keys/sign.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config/params.h"
#include "postern/check.h"

#define PEM_MAX (1024 * 1024)	/* what keys reads */
#define KEYS_MAX 64		/* what keys holds */

/* What a PEM file holds. All zero: it was not read. */
struct pem_file {
	char path[4096];	/* "": no file */
	bool read, cut_short;	/* cut_short: a block has no whole text */
	X509 *leaf;		/* the first certificate */
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

		if (certificate == NULL)
			f->bad_certificate = true;
		else if (f->leaf == NULL)
			f->leaf = certificate;
		else
			X509_free(certificate);
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
	X509_free(f->leaf);
	while (f->key_count > 0)
		EVP_PKEY_free(f->keys[--f->key_count]);
}

/* In words, what a file without what it should have holds instead. */
static const char *contents(const struct pem_file *f, char *out, size_t size)
{
	if (f->leaf != NULL || f->bad_certificate)
		return "a certificate";
	if (f->key_blocks > 0)
		return "a private key";
	if (f->other[0] == '\0')
		return "nothing in PEM";
	snprintf(out, size, "a block \"%s\"", f->other);
	return out;
}

/* The file is there and may be looked into: fills `f`. */
static bool open_file(struct check *k, const char *param, struct str path,
    struct pem_file *f)
{
	struct stat st;

	if (str_to_c(path, f->path, sizeof(f->path)) < 0 ||
	    strcmp(f->path, "none") == 0) {
		f->path[0] = '\0';
		return false;
	}
	if (stat(f->path, &st) < 0) {
		check_report(k, errno != EACCES, param, NULL, "%s: %s",
		    f->path, strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		check_report(k, true, param, NULL, "%s is no regular file",
		    f->path);
		return false;
	}
	read_pem(f);
	return true;
}

/* One that cannot be read is taken to hold what it is named for. */
static void check_mode(struct check *k, const char *param,
    const struct pem_file *f)
{
	struct stat st;

	if ((!f->read || f->key_blocks > 0) && stat(f->path, &st) == 0 &&
	    (st.st_mode & 077 & ~040))
		check_report(k, false, param, "chmod 0600 it",
		    "%s holds a private key and has mode %04o", f->path,
		    (unsigned)st.st_mode & 07777);
}

static void check_certificate(struct check *k, const struct pem_file *f)
{
	char holds[100];

	if (!f->read)
		return;
	/* Servers take all of them or none. */
	if (f->bad_certificate || f->cut_short)
		check_report(k, true, "smtpd_tls_cert_file",
		    "copy it again from who issued it",
		    "a certificate in %s is damaged", f->path);
	else if (f->leaf == NULL)
		check_report(k, true, "smtpd_tls_cert_file",
		    "name the file with the certificate and those above it, "
		    "in PEM", "%s holds no certificate; it holds %s", f->path,
		    contents(f, holds, sizeof(holds)));
}

static bool belongs(const struct pem_file *f, X509 *leaf)
{
	bool found = false;

	for (size_t i = 0; i < f->key_count && !found; i++)
		found = X509_check_private_key(leaf, f->keys[i]) == 1;
	ERR_clear_error();
	return found;
}

/* param is where the key's file was named. */
static void check_key(struct check *k, const char *param,
    const struct pem_file *f, const struct pem_file *cert)
{
	char holds[100];

	if (!f->read)
		return;
	if (f->cut_short) {
		/* The certificate's file was told of. */
		if (strcmp(f->path, cert->path) != 0)
			check_report(k, true, param, "copy it again",
			    "the private key in %s is damaged", f->path);
		return;
	}
	if (f->key_blocks == 0)
		check_report(k, true, param, "name the file with the private "
		    "key, in PEM, with smtpd_tls_key_file",
		    "%s holds no private key; it holds %s", f->path,
		    contents(f, holds, sizeof(holds)));
	else if (f->bad_key != NULL)
		check_report(k, true, param, strcmp(f->bad_key,
		    "has a pass phrase") == 0
		    ? "write it without one: openssl pkey -in OLD -out NEW"
		    : strcmp(f->bad_key, "is damaged") == 0 ? "copy it again"
		    : "make an RSA or EC key and a certificate for it",
		    "the private key in %s %s", f->path, f->bad_key);
	else if (cert->leaf != NULL && !belongs(f, cert->leaf) &&
	    !belongs(cert, cert->leaf))
		check_report(k, true, param, "name the key that the "
		    "certificate was made for",
		    "the private key in %s does not belong to the certificate "
		    "in %s", f->path, cert->path);
}

/* The certificate of servers and its key. Is there one? */
static bool check_pair(struct check *k)
{
	struct str cert_path = str_of(check_value(k, "smtpd_tls_cert_file")),
	    key_path = str_of(check_value(k, "smtpd_tls_key_file"));
	/* A key that was not named is looked for beside the certificate. */
	const char *param = config_raw(k->c, "smtpd_tls_key_file") != NULL
	    ? "smtpd_tls_key_file" : "smtpd_tls_cert_file";
	struct pem_file cert = { .read = false }, key = { .read = false };
	bool told = false;

	cert_path = str_trim(cert_path);
	key_path = str_trim(key_path);
	if (cert_path.n > 0) {
		if (open_file(k, "smtpd_tls_cert_file", cert_path, &cert))
			check_certificate(k, &cert);
		else
			told = str_eq(key_path, cert_path);
	}
	if (key_path.n > 0 && !told &&
	    open_file(k, param, key_path, &key)) {
		check_mode(k, param, &key);
		check_key(k, param, &key, &cert);
	}
	forget(&cert);
	forget(&key);
	return cert.path[0] != '\0' || key.path[0] != '\0';
}

static bool check_list(struct check *k, const char *param, bool may_have_key)
{
	struct str rest = str_of(check_value(k, param)), word;
	bool any = false;

	while (param_word(&rest, false, &word)) {
		struct pem_file f = { .read = false };

		if (open_file(k, param, word, &f) && may_have_key)
			check_mode(k, param, &f);
		any |= f.path[0] != '\0';
		forget(&f);
	}
	return any;
}

static bool wants_tls(const struct check *k)
{
	size_t n;
	const struct master_service *s = config_services(k->c, &n);

	if (strcmp(check_value(k, "smtpd_tls_security_level"), "may") == 0 ||
	    strcmp(check_value(k, "smtpd_tls_security_level"),
		"encrypt") == 0 ||
	    strcmp(check_value(k, "smtpd_tls_wrappermode"), "yes") == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < s[i].override_count; j++)
			if (strstr(s[i].overrides[j].name, "wrappermode") &&
			    strcmp(s[i].overrides[j].value, "yes") == 0)
				return true;
	return false;
}

void check_keys(struct check *k)
{
	bool any = check_pair(k);

	any |= check_list(k, "smtpd_tls_chain_files", true);
	check_list(k, "smtp_tls_CAfile", false);
	if (!any && wants_tls(k))
		check_report(k, true, "smtpd_tls_cert_file",
		    "set smtpd_tls_cert_file and smtpd_tls_key_file",
		    "TLS is wanted and there is no certificate");
}
