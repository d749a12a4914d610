#include <arpa/inet.h>
#include <stdio.h>
#include "dns/servers.h"

static bool is_address(struct str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr raw;
	ssize_t scope = str_chr(s, '%');

	/* a link-local address names its interface */
	if (scope > 0)
		s = str_sub(s, 0, (size_t)scope);
	return str_to_c(s, text, sizeof(text)) == 0 &&
	    (inet_pton(AF_INET, text, &raw) == 1 ||
		inet_pton(AF_INET6, text, &raw) == 1);
}

static int add(struct str word, struct servers *list)
{
	ssize_t at = str_chr(word, '@');
	uint64_t port = 53;
	struct str address = word;

	if (at >= 0) {
		address = str_sub(word, 0, (size_t)at);
		if (str_to_u64(str_from(word, (size_t)at + 1), 65535,
			&port) < 0 || port == 0)
			return -1;
	}
	if (!is_address(address) || address.n > 64)
		return -1;
	if (list->n == SERVERS_MAX)
		return 0;
	snprintf(list->text[list->n], sizeof(list->text[0]),
	    STR_FMT "@%u", STR_ARG(address), (unsigned)port);
	list->n++;
	return 0;
}

int servers_parse(struct str text, struct servers *list, struct str *bad_r)
{
	struct str word;

	while (str_word(&text, ", \t\r\n", &word))
		if (add(word, list) < 0) {
			*bad_r = word;
			return -1;
		}
	return 0;
}

void servers_parse_resolv_conf(struct str text, struct servers *list)
{
	struct str line, word;

	while (str_split(&text, '\n', &line)) {
		if (str_word(&line, " \t\r", &word) &&
		    str_eq_c(word, "nameserver") &&
		    str_word(&line, " \t\r", &word))
			add(word, list);
	}
}
