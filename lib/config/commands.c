#include "config/commands.h"

#define COMMANDS(X) \
	X("smtpd", "smtpd", COMMAND_NEEDLESS, NULL) \
	X("pickup", "pickup", COMMAND_NEEDLESS, NULL) \
	X("cleanup", "cleanup", COMMAND_NEEDLESS, NULL) \
	X("qmgr", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("oqmgr", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("nqmgr", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("showq", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("smtp", "smtp", COMMAND_NEEDLESS, NULL) \
	X("lmtp", "smtp", COMMAND_NEEDLESS, NULL) \
	X("local", "local", COMMAND_NEEDLESS, NULL) \
	X("virtual", "local", COMMAND_NEEDLESS, NULL) \
	X("bounce", "bounce", COMMAND_NEEDLESS, NULL) \
	X("error", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("discard", "qmgr", COMMAND_NEEDLESS, NULL) \
	X("trivial-rewrite", "lookup", COMMAND_NEEDLESS, NULL) \
	X("lookup", "lookup", COMMAND_NEEDLESS, NULL) \
	X("proxymap", "lookup", COMMAND_NEEDLESS, NULL) \
	X("dns", "dns", COMMAND_NEEDLESS, NULL) \
	X("auth", "auth", COMMAND_NEEDLESS, NULL) \
	X("keys", "keys", COMMAND_NEEDLESS, NULL) \
	X("limits", "limits", COMMAND_NEEDLESS, NULL) \
	X("log", "log", COMMAND_NEEDLESS, NULL) \
	X("launch", "launch", COMMAND_NEEDLESS, NULL) \
	X("login", "login", COMMAND_NEEDLESS, NULL) \
	X("imap-login", "login", COMMAND_NEEDLESS, NULL) \
	X("pop3-login", "login", COMMAND_NEEDLESS, NULL) \
	X("postlogd", "log", COMMAND_NEEDLESS, NULL) \
	X("anvil", "limits", COMMAND_NEEDLESS, NULL) \
	X("tlsmgr", NULL, COMMAND_NEEDLESS, "keys and tickets do it") \
	X("scache", NULL, COMMAND_NEEDLESS, \
	    "smtp keeps its connections itself") \
	X("flush", NULL, COMMAND_NEEDLESS, \
	    "qmgr finds a domain's mail itself") \
	X("verify", NULL, COMMAND_NEEDLESS, "nothing asks for it") \
	X("dnsblog", NULL, COMMAND_NEEDLESS, "dns does it") \
	X("tlsproxy", NULL, COMMAND_NEEDLESS, \
	    "TLS is done where the connection is") \
	X("postscreen", NULL, COMMAND_REFUSED, \
	    "put smtpd back into this line") \
	X("spawn", NULL, COMMAND_MISSED, \
	    "start the program by the service manager") \
	X("pipe", NULL, COMMAND_MISSED, \
	    "deliver by an alias |command, by LMTP or by SMTP") \
	X("qmqpd", NULL, COMMAND_MISSED, "mail comes in by SMTP or sendmail") \
	X("fsstone", NULL, COMMAND_MISSED, "it is a test program")

static const struct master_command table[] = {
#define ROW(name, program, absence, remedy) { name, program, absence, remedy },
	COMMANDS(ROW)
#undef ROW
};

static const char *const names[] = {
#define ROW(name, program, absence, remedy) name,
	COMMANDS(ROW)
#undef ROW
	NULL
};

const struct master_command *command_find(struct str name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (str_eq_c(name, table[i].name))
			return &table[i];
	return NULL;
}

const char *const *command_names(void)
{
	return names;
}
