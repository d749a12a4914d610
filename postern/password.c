#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "postern/postern.h"

int hash_password(const char *password, char *out, size_t size)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char salt[CRYPT_GENSALT_OUTPUT_SIZE], *hash;
	int rc = -1, n;

	/* random octets from the system; the cost is yescrypt's default */
	if (data == NULL || crypt_gensalt_rn("$y$", 0, NULL, 0, salt,
		sizeof(salt)) == NULL) {
		complain("cannot make a salt: %s", strerror(errno));
		goto out;
	}
	hash = crypt_r(password, salt, data);
	if (hash == NULL || hash[0] == '*') {
		complain("cannot hash the password: %s", strerror(errno));
		goto out;
	}
	n = snprintf(out, size, "{CRYPT}%s", hash);
	rc = n > 0 && (size_t)n < size ? 0 : -1;
out:
	if (data != NULL)
		explicit_bzero(data, sizeof(*data));
	free(data);
	return rc;
}
