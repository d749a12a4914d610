/* bdb.h - opening a Berkeley DB; only bdb.c and writer.c include it */
#ifndef TABLE_BDB_H
#define TABLE_BDB_H
#include <stdint.h>

enum bdb_type { BDB_HASH, BDB_BTREE };

/* env_r: DB_ENV **, db_r: DB **. Returns 0, or what db_strerror() names. */
int bdb_open(const char *path, enum bdb_type, uint32_t flags, unsigned cache,
    void *env_r, void *db_r);
#endif
