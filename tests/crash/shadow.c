#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shadow.h"

/* Index 0 is the root. */
struct dir {
	ino_t ino;
	int parent;
	char name[SHADOW_NAME];
	bool durable, present;	/* its own name; it exists now */
};

struct file {
	ino_t ino;
	bool dirty;		/* changed after the last sync */
	bool used;
	size_t pool, octets;	/* what is durable of it */
};

struct name {
	int dir, file;
	char name[SHADOW_NAME];
	bool durable, present;
};

enum change_kind { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME, CHANGE_MKDIR,
	CHANGE_RMDIR };

struct change {
	enum change_kind kind;
	bool settled;
	int dir, name;		/* of what appears or goes */
	int from_dir, from;	/* rename */
};

struct shadow {
	/* What shadow_reset() found: that many of each are to stay. */
	int base_dirs, base_files, base_names;
	int dir_count, file_count, name_count, change_count;
	size_t pool_used;
	bool overflowed;
	struct dir dirs[SHADOW_DIRS];
	struct file files[SHADOW_FILES];
	struct name names[SHADOW_NAMES];
	struct change changes[SHADOW_PENDING];
	char pool[SHADOW_POOL];
};

struct shadow *shadow_new(void)
{
	void *p = mmap(NULL, sizeof(struct shadow), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool shadow_overflowed(const struct shadow *s)
{
	return s->overflowed;
}

static void copy_name(char to[SHADOW_NAME], const char *from)
{
	size_t n = strnlen(from, SHADOW_NAME - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

static int find_dir(const struct shadow *s, ino_t ino)
{
	for (int i = 0; i < s->dir_count; i++)
		if (s->dirs[i].ino == ino && s->dirs[i].present)
			return i;
	return -1;
}

static int find_file(const struct shadow *s, ino_t ino)
{
	for (int i = 0; i < s->file_count; i++)
		if (s->files[i].ino == ino && s->files[i].used)
			return i;
	return -1;
}

static int find_name(const struct shadow *s, int dir, const char *name)
{
	for (int i = 0; i < s->name_count; i++)
		if (s->names[i].present && s->names[i].dir == dir &&
		    strcmp(s->names[i].name, name) == 0)
			return i;
	return -1;
}

static int add_dir(struct shadow *s, ino_t ino, int parent, const char *name,
    bool durable)
{
	struct dir *d;

	if (s->dir_count == SHADOW_DIRS) {
		s->overflowed = true;
		return -1;
	}
	d = &s->dirs[s->dir_count];
	*d = (struct dir){ .ino = ino, .parent = parent, .durable = durable,
		.present = true };
	copy_name(d->name, name);
	return s->dir_count++;
}

static int add_file(struct shadow *s, ino_t ino)
{
	if (s->file_count == SHADOW_FILES) {
		s->overflowed = true;
		return -1;
	}
	s->files[s->file_count] = (struct file){ .ino = ino, .used = true };
	return s->file_count++;
}

static int add_name(struct shadow *s, int dir, int file, const char *name,
    bool durable)
{
	struct name *n;

	if (s->name_count == SHADOW_NAMES) {
		s->overflowed = true;
		return -1;
	}
	n = &s->names[s->name_count];
	*n = (struct name){ .dir = dir, .file = file, .durable = durable,
		.present = true };
	copy_name(n->name, name);
	return s->name_count++;
}

static struct change *add_change(struct shadow *s, enum change_kind kind,
    int dir, int name)
{
	struct change *c;

	if (s->change_count == SHADOW_PENDING) {
		s->overflowed = true;
		return NULL;
	}
	c = &s->changes[s->change_count++];
	*c = (struct change){ .kind = kind, .dir = dir, .name = name,
		.from_dir = -1, .from = -1 };
	return c;
}

/* --- what was synced -------------------------------------------------- */

/* The caller's descriptor may be for writing only. */
static ssize_t read_all(int fd, char *to, size_t n)
{
	char path[64];
	ssize_t k;
	int mine;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	mine = open(path, O_RDONLY | O_CLOEXEC);
	if (mine < 0)
		return -1;
	k = pread(mine, to, n, 0);
	close(mine);
	return k;
}

static void keep_data(struct shadow *s, struct file *f, int fd)
{
	struct stat st;
	size_t n;

	if (fstat(fd, &st) < 0)
		return;
	n = (size_t)st.st_size;
	/* In place while it fits, else at the pool's end. */
	if (n > f->octets || f->octets == 0) {
		if (n > SHADOW_POOL - s->pool_used) {
			s->overflowed = true;
			return;
		}
		f->pool = s->pool_used;
		s->pool_used += n;
	}
	if (read_all(fd, s->pool + f->pool, n) != (ssize_t)n)
		s->overflowed = true;
	f->octets = n;
	f->dirty = false;
}

/* Makes one change part of what is durable. False: it cannot stand, since
 * what it works on is not there. */
static bool apply(struct shadow *s, const struct change *c)
{
	switch (c->kind) {
	case CHANGE_LINK:
		s->names[c->name].durable = true;
		return true;
	case CHANGE_UNLINK:
		s->names[c->name].durable = false;
		return true;
	case CHANGE_RENAME:
		if (!s->names[c->from].durable ||
		    !s->dirs[c->dir].durable)
			return false;
		s->names[c->from].durable = false;
		s->names[c->name].durable = true;
		return true;
	case CHANGE_MKDIR:
		s->dirs[c->dir].durable = true;
		return true;
	case CHANGE_RMDIR:
		s->dirs[c->dir].durable = false;
		return true;
	}
	return false;
}

static int holder(const struct shadow *s, const struct change *c)
{
	return c->kind == CHANGE_MKDIR || c->kind == CHANGE_RMDIR
	    ? s->dirs[c->dir].parent : c->dir;
}

/* What made this name appear is durable when what moved it on is. */
static void settle_name(struct shadow *s, int name)
{
	for (int i = 0; i < s->change_count; i++) {
		struct change *c = &s->changes[i];

		if (c->settled || c->name != name ||
		    (c->kind != CHANGE_LINK && c->kind != CHANGE_RENAME))
			continue;
		c->settled = true;
		if (c->kind == CHANGE_RENAME) {
			settle_name(s, c->from);
			s->names[c->from].durable = false;
		}
	}
	s->names[name].durable = true;
}

static void sync_dir(struct shadow *s, int dir)
{
	for (int i = 0; i < s->change_count; i++) {
		struct change *c = &s->changes[i];

		if (c->settled || (holder(s, c) != dir && c->from_dir != dir))
			continue;
		if (c->kind == CHANGE_RENAME)
			settle_name(s, c->from);
		c->settled = apply(s, c);
	}
}

/* --- the hook --------------------------------------------------------- */

/* Directory and last part of what a call named. */
static int resolve(const struct shadow *s, int fd, const char *path,
    const char **leaf_r)
{
	const char *slash = strrchr(path, '/');
	char parent[SHADOW_NAME];
	struct stat st;

	*leaf_r = slash ? slash + 1 : path;
	if (slash == NULL) {
		if (fstat(fd, &st) < 0)
			return -1;
	} else {
		snprintf(parent, sizeof(parent), "%.*s",
		    (int)(slash - path), path);
		if (fstatat(fd, parent, &st, 0) < 0)
			return -1;
	}
	return find_dir(s, st.st_ino);
}

static void on_open(struct shadow *s, int dir, const char *leaf, int fd,
    const char *path)
{
	struct stat st;
	int file, name;

	if (find_name(s, dir, leaf) >= 0 || strcmp(leaf, ".") == 0 ||
	    fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return;
	file = add_file(s, st.st_ino);
	if (file < 0 || (name = add_name(s, dir, file, leaf, false)) < 0)
		return;
	add_change(s, CHANGE_LINK, dir, name);
}

static void on_link(struct shadow *s, int dir, const char *leaf, int fd,
    const char *path)
{
	struct stat st;
	int file, name;

	if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (file = find_file(s, st.st_ino)) < 0 ||
	    (name = add_name(s, dir, file, leaf, false)) < 0)
		return;
	add_change(s, CHANGE_LINK, dir, name);
}

/* The event has only the new name; the old one is found by the file. */
static void on_rename(struct shadow *s, int dir, const char *leaf, int fd,
    const char *path)
{
	int file, from = -1, name, over;
	struct change *c;
	struct stat st;

	if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (file = find_file(s, st.st_ino)) < 0)
		return;
	for (int i = 0; i < s->name_count; i++)
		if (s->names[i].present && s->names[i].file == file)
			from = i;
	if ((over = find_name(s, dir, leaf)) >= 0)
		s->names[over].present = false;
	if (from < 0 || (name = add_name(s, dir, file, leaf, false)) < 0)
		return;
	s->names[from].present = false;
	c = add_change(s, CHANGE_RENAME, dir, name);
	if (c != NULL) {
		c->from = from;
		c->from_dir = s->names[from].dir;
	}
}

static void on_unlink(struct shadow *s, int dir, const char *leaf)
{
	int name = find_name(s, dir, leaf);

	if (name < 0)
		return;
	s->names[name].present = false;
	add_change(s, CHANGE_UNLINK, dir, name);
	/* The inode number may be used again when this was the last name. */
	for (int i = 0; i < s->name_count; i++)
		if (s->names[i].present &&
		    s->names[i].file == s->names[name].file)
			return;
	s->files[s->names[name].file].used = false;
}

static void on_mkdir(struct shadow *s, int parent, const char *leaf, int fd,
    const char *path)
{
	struct stat st;
	int dir;

	if (fstatat(fd, path, &st, 0) < 0 ||
	    (dir = add_dir(s, st.st_ino, parent, leaf, false)) < 0)
		return;
	add_change(s, CHANGE_MKDIR, dir, -1);
}

static void on_rmdir(struct shadow *s, int parent, const char *leaf)
{
	for (int i = 1; i < s->dir_count; i++)
		if (s->dirs[i].present && s->dirs[i].parent == parent &&
		    strcmp(s->dirs[i].name, leaf) == 0) {
			s->dirs[i].present = false;
			add_change(s, CHANGE_RMDIR, i, -1);
		}
}

static void on_sync(struct shadow *s, int fd)
{
	struct stat st;
	int i;

	if (fstat(fd, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode)) {
		if ((i = find_dir(s, st.st_ino)) >= 0)
			sync_dir(s, i);
	} else if ((i = find_file(s, st.st_ino)) >= 0) {
		keep_data(s, &s->files[i], fd);
	}
}

static void on_write(struct shadow *s, int fd)
{
	struct stat st;
	int i;

	if (fstat(fd, &st) == 0 && (i = find_file(s, st.st_ino)) >= 0)
		s->files[i].dirty = true;
}

void shadow_event(struct shadow *s, const struct sys_event *ev)
{
	const char *leaf = NULL;
	int dir = -1;

	if (!ev->after || ev->result != 0)
		return;
	if (ev->path != NULL) {
		dir = resolve(s, ev->fd, ev->path, &leaf);
		if (dir < 0)
			return;
	}
	switch (ev->op) {
	case SYS_OPEN: on_open(s, dir, leaf, ev->fd, ev->path); break;
	case SYS_LINK: on_link(s, dir, leaf, ev->fd, ev->path); break;
	case SYS_RENAME: on_rename(s, dir, leaf, ev->fd, ev->path); break;
	case SYS_UNLINK: on_unlink(s, dir, leaf); break;
	case SYS_MKDIR: on_mkdir(s, dir, leaf, ev->fd, ev->path); break;
	case SYS_RMDIR: on_rmdir(s, dir, leaf); break;
	case SYS_FSYNC: case SYS_FDATASYNC: on_sync(s, ev->fd); break;
	case SYS_WRITE: case SYS_TRUNCATE: case SYS_ALLOCATE:
		on_write(s, ev->fd); break;
	default: break;
	}
}

/* --- beginning and cutting -------------------------------------------- */

static int take_dir(struct shadow *s, int fd, int index)
{
	DIR *d = fdopendir(dup(fd));
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return -1;
	rewinddir(d);
	while (rc == 0 && (e = readdir(d)) != NULL) {
		struct stat st;
		int child, k;

		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		child = openat(fd, e->d_name, O_RDONLY | O_NOFOLLOW);
		if (child < 0) {
			rc = -1;
		} else if (S_ISDIR(st.st_mode)) {
			k = add_dir(s, st.st_ino, index, e->d_name, true);
			rc = k < 0 ? -1 : take_dir(s, child, k);
		} else {
			k = add_file(s, st.st_ino);
			rc = k < 0 || add_name(s, index, k, e->d_name, true)
			    < 0 ? -1 : 0;
			if (rc == 0)
				keep_data(s, &s->files[k], child);
		}
		if (child >= 0)
			close(child);
	}
	closedir(d);
	return rc;
}

int shadow_reset(struct shadow *s, int root)
{
	struct stat st;

	memset(s, 0, offsetof(struct shadow, pool));
	if (fstat(root, &st) < 0 ||
	    add_dir(s, st.st_ino, -1, ".", true) < 0 ||
	    take_dir(s, root, 0) < 0)
		return -1;
	s->base_dirs = s->dir_count;
	s->base_files = s->file_count;
	s->base_names = s->name_count;
	return 0;
}

int shadow_again(struct shadow *s, int root)
{
	s->dir_count = s->base_dirs;
	s->file_count = s->base_files;
	s->name_count = s->base_names;
	s->change_count = 0;
	s->pool_used = 0;
	for (int i = 0; i < s->dir_count; i++)
		s->dirs[i].durable = s->dirs[i].present = true;
	for (int i = 0; i < s->name_count; i++) {
		struct name *n = &s->names[i];
		int fd = openat(root, n->name, O_RDONLY);

		n->durable = n->present = true;
		if (fd < 0)
			return -1;
		s->files[n->file].octets = 0;
		keep_data(s, &s->files[n->file], fd);
		close(fd);
	}
	return 0;
}

/* What the running system sees of a file, or -1. */
static ssize_t read_live(const struct shadow *s, const struct name *n,
    int live, char *to, size_t size)
{
	const struct dir *d = &s->dirs[n->dir];
	char path[3 * SHADOW_NAME];
	ssize_t k;
	int fd;

	if (n->dir == 0)
		snprintf(path, sizeof(path), "%s", n->name);
	else if (d->parent == 0)
		snprintf(path, sizeof(path), "%s/%s", d->name, n->name);
	else
		snprintf(path, sizeof(path), "%s/%s/%s",
		    s->dirs[d->parent].name, d->name, n->name);
	fd = openat(live, path, O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	k = read(fd, to, size);
	close(fd);
	return k;
}

/*
 * Sector by sector what was synced or what is there now; what was never
 * synced may be zeros, and the size anything between the two.
 */
static size_t mix(const char *synced, size_t synced_n, char *data, size_t n,
    unsigned *seed)
{
	if (n > synced_n && rand_r(seed) % 2)
		n = synced_n + (size_t)rand_r(seed) % (n - synced_n + 1);
	for (size_t at = 0; at < n; at += 512) {
		size_t end = at + 512 < n ? at + 512 : n;

		if (rand_r(seed) % 4 != 0)
			continue;
		memset(data + at, 0, end - at);
		if (at < synced_n)
			memcpy(data + at, synced + at, (end < synced_n ? end
			    : synced_n) - at);
	}
	return n;
}

static int write_file(struct shadow *s, const struct name *n, int out,
    enum shadow_choice choice, int live, unsigned *seed)
{
	static char data[256 * 1024];
	const struct file *f = &s->files[n->file];
	ssize_t k = -1;

	if (f->dirty && n->present && choice != SHADOW_DROP)
		k = read_live(s, n, live, data, sizeof(data));
	if (k < (ssize_t)f->octets)
		return write(out, s->pool + f->pool, f->octets) ==
		    (ssize_t)f->octets ? 0 : -1;
	if (choice == SHADOW_RANDOM)
		k = (ssize_t)mix(s->pool + f->pool, f->octets, data,
		    (size_t)k, seed);
	return write(out, data, (size_t)k) == k ? 0 : -1;
}

static int write_dir(struct shadow *s, int dir, int live, int image,
    enum shadow_choice choice, unsigned *seed)
{
	for (int i = 0; i < s->name_count; i++) {
		struct name *n = &s->names[i];
		int fd, rc;

		if (n->dir != dir || !n->durable)
			continue;
		fd = openat(image, n->name, O_WRONLY | O_CREAT | O_TRUNC |
		    O_CLOEXEC, 0600);
		if (fd < 0)
			return -1;
		rc = write_file(s, n, fd, choice, live, seed);
		close(fd);
		if (rc < 0)
			return -1;
	}
	for (int i = 1; i < s->dir_count; i++) {
		int fd, rc;

		if (s->dirs[i].parent != dir || !s->dirs[i].durable)
			continue;
		if (mkdirat(image, s->dirs[i].name, 0700) < 0 &&
		    errno != EEXIST)
			return -1;
		fd = openat(image, s->dirs[i].name, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			return -1;
		rc = write_dir(s, i, live, fd, choice, seed);
		close(fd);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int shadow_cut(struct shadow *s, int live, int image,
    enum shadow_choice choice, unsigned *seed)
{
	for (int i = 0; i < s->change_count; i++) {
		struct change *c = &s->changes[i];

		if (c->settled || choice == SHADOW_DROP ||
		    (choice == SHADOW_RANDOM && rand_r(seed) % 2))
			continue;
		apply(s, c);
	}
	return write_dir(s, 0, live, image, choice, seed);
}
