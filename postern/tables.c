#include "postern/postern.h"

/* newaliases comes with the tables; until one is built there are no
 * aliases, which is what an empty one says too. */
int init_build_tables(const struct context *ctx)
{
	(void)ctx;
	return 0;
}
