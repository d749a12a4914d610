#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/log.h"
#include "base/sys.h"
#include "smtp/config.h"

#define CA_MAX (16 * 1024 * 1024)

static enum tls_level level_of(const char *word)
{
	static const char *const words[] = { "none", "may", "encrypt",
		"verify", "secure" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0)
			return (enum tls_level)i;
	return TLS_NONE;
}

static void add_file(int dirfd, const char *name, struct buf *out)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	off_t at = 0;
	ssize_t n = 1;

	if (fd < 0) {
		log_warn("cannot read certificate authorities in %s", name);
		return;
	}
	while (n > 0) {
		char *p = buf_reserve(out, 65536);

		if (p == NULL)
			break;
		if ((n = sys_pread_full(fd, p, 65536, at)) > 0) {
			buf_added(out, (size_t)n);
			at += n;
		}
	}
	close(fd);
	buf_append_char(out, '\n');
}

/* A directory made by c_rehash: each certificate once, by its hash name. */
static void add_directory(const char *path, struct buf *out)
{
	DIR *d = opendir(path);
	struct dirent *e;

	if (d == NULL) {
		log_warn("cannot read smtp_tls_CApath %s", path);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n == 10 && e->d_name[8] == '.' &&
		    ascii_is_digit(e->d_name[9]))
			add_file(dirfd(d), e->d_name, out);
	}
	closedir(d);
}

/* ">=TLSv1.3" (and older spellings that exclude TLSv1.2) or TLS 1.2. */
static int min_version(const char *protocols)
{
	struct str rest = str_of(protocols), word;

	while (str_word(&rest, ", :\t", &word))
		if (str_eq_nocase_c(word, ">=TLSv1.3") ||
		    str_eq_nocase_c(word, "TLSv1.3") ||
		    str_eq_nocase_c(word, "!TLSv1.2"))
			return 0x0304;
	return 0x0303;
}

static int load_tls(struct smtp_config *c, const struct params *p)
{
	struct tls_client_options o = { .min_version =
		min_version(p->smtp_tls_protocols) };
	struct buf pem;
	const char *why;

	if (tls_init(&why) < 0) {
		log_warn("TLS: %s", why);
		return -1;
	}
	buf_init(&pem, CA_MAX);
	if (p->smtp_tls_CAfile[0] != '\0')
		add_file(AT_FDCWD, p->smtp_tls_CAfile, &pem);
	if (p->smtp_tls_CApath[0] != '\0')
		add_directory(p->smtp_tls_CApath, &pem);
	o.ca_pem = buf_str(&pem);
	c->tls_optional = tls_client_new(&o, &why);
	o.min_version = min_version(p->smtp_tls_mandatory_protocols);
	if (c->tls_optional != NULL)
		c->tls_mandatory = tls_client_new(&o, &why);
	buf_fini(&pem);
	if (c->tls_mandatory != NULL)
		return 0;
	log_warn("TLS: %s", why);
	return -1;
}

static int load_port(const char *name, const char *text, uint16_t *port_r)
{
	int port = nexthop_port(str_of(text));

	if (port < 0) {
		log_warn("%s: unknown port \"%s\"", name, text);
		return -1;
	}
	*port_r = (uint16_t)port;
	return 0;
}

static int load_bind(const char *name, const char *text, sa_family_t family,
    struct net_addr *addr)
{
	*addr = (struct net_addr){ .family = AF_UNSPEC };
	if (text[0] == '\0')
		return 0;
	if (net_addr_parse(str_of(text), addr) == 0 &&
	    addr->family == family)
		return 0;
	log_warn("%s: \"%s\" is no such address", name, text);
	return -1;
}

int smtp_config_load(struct smtp_config *c, const struct params *p)
{
	struct str rest = str_of(p->inet_protocols), word;

	*c = (struct smtp_config){ .params = p };
	while (str_word(&rest, ", \t", &word)) {
		bool all = str_eq_nocase_c(word, "all");

		c->ipv4 |= all || str_eq_nocase_c(word, "ipv4");
		c->ipv6 |= all || str_eq_nocase_c(word, "ipv6");
	}
	if (!c->ipv4 && !c->ipv6) {
		log_warn("inet_protocols: \"%s\" names none",
		    p->inet_protocols);
		return -1;
	}
	c->tls_level = level_of(p->smtp_tls_security_level);
	c->lmtp_tls_level = level_of(p->lmtp_tls_security_level);
	if (load_port("smtp_tcp_port", p->smtp_tcp_port,
		&c->smtp_port) < 0 ||
	    load_port("lmtp_tcp_port", p->lmtp_tcp_port,
		&c->lmtp_port) < 0 ||
	    load_bind("smtp_bind_address", p->smtp_bind_address, AF_INET,
		&c->bind4) < 0 ||
	    load_bind("smtp_bind_address6", p->smtp_bind_address6, AF_INET6,
		&c->bind6) < 0)
		return -1;
	if (c->tls_level == TLS_NONE && c->lmtp_tls_level == TLS_NONE)
		return 0;
	return load_tls(c, p);
}

void smtp_config_fini(struct smtp_config *c)
{
	tls_client_free(&c->tls_optional);
	tls_client_free(&c->tls_mandatory);
}
