/* writer.h - building hash: and btree: tables */
#ifndef TABLE_WRITER_H
#define TABLE_WRITER_H
#include <sys/types.h>
#include "base/buf.h"

struct table_writer;

/*
 * A new file beside the table's (spec is "hash:/dir/name" or "btree:..."),
 * which takes its place whole in table_writer_commit(): readers have the old
 * table until then and the new one after it. The mode's read and write bits
 * are the new file's. NULL and the reason in *why.
 */
struct table_writer *table_writer_open(struct str spec, unsigned mode,
    struct buf *why);

enum table_write { TABLE_WRITE_NEW, TABLE_WRITE_REPLACE };
/*
 * 1 when the key was there already (it is replaced, or left as it is); 0; -1
 * and the reason in *why. ASCII letters of the key are folded to lower case.
 */
int table_writer_put(struct table_writer *, struct str key, struct str value,
    enum table_write, struct buf *why);
/* 1 when it was there and is not now; 0; -1. */
int table_writer_delete(struct table_writer *, struct str key,
    struct buf *why);
/* The new file is to belong to these. */
void table_writer_give(struct table_writer *, uid_t, gid_t);
/* All entries of the present table. 0 also when there is none yet; -1. */
int table_writer_copy(struct table_writer *, struct buf *why);
/* Syncs the file, gives it the table's name and syncs the directory. The
 * writer is gone after it, also when it fails (then the old table stays). */
int table_writer_commit(struct table_writer **, struct buf *why);
/* Gives up. NULL is nothing. */
void table_writer_abort(struct table_writer **);
/* The file's name: source and ".db". */
const char *table_writer_path(const struct table_writer *);
#endif
