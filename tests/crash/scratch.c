/* scratch.c - see scratch.h */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "scratch.h"

void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
	    strerror(errno));
	_exit(3);
}

void wipe(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(copy);
	struct dirent *e;

	must(d == NULL ? -1 : 0, "opendir");
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dir, e->d_name, 0) < 0 && errno == EISDIR) {
			int sub = openat(dir, e->d_name,
			    O_RDONLY | O_DIRECTORY);

			wipe(sub);
			close(sub);
			unlinkat(dir, e->d_name, AT_REMOVEDIR);
		}
	}
	closedir(d);
}

int open_dir(const char *base, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	must(mkdir(path, 0700), path);
	return open(path, O_RDONLY | O_DIRECTORY);
}

void *shared(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p == MAP_FAILED ? -1 : 0, "mmap");
	return p;
}

void scratch_begin(const char *base, char root[128], int *live, int *image)
{
	if (base[0] == '\0')
		base = access("/dev/shm", W_OK) == 0 ? "/dev/shm"
		    : getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	snprintf(root, 128, "%s/postern-h1-XXXXXX", base);
	must(mkdtemp(root) == NULL ? -1 : 0, root);
	*live = open_dir(root, "live");
	*image = open_dir(root, "image");
}

void scratch_end(const char *root, int live, int image)
{
	wipe(live);
	wipe(image);
	unlinkat(live, "../live", AT_REMOVEDIR);
	unlinkat(image, "../image", AT_REMOVEDIR);
	close(live);
	close(image);
	rmdir(root);
}
