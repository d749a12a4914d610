/* fuzz.c - see fuzz.h */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/crc32c.h"
#include "base/log.h"
#include "fuzz.h"

#ifdef __clang__
#define UNCOUNTED __attribute__((no_sanitize("coverage")))
#else
#define UNCOUNTED __attribute__((no_sanitize_coverage))
#endif

/* --- findings --- */

void fuzz_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FINDING %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(stderr);
	abort();
}

void fuzz_show(const char *label, struct str s)
{
	fprintf(stderr, "%s (%zu): \"", label, s.n);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r')
			fputs("\\r", stderr);
		else if (c == '\n')
			fputs("\\n", stderr);
		else if (c == '"' || c == '\\' || c < 32 || c > 126)
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
	fputs("\"\n", stderr);
}

void fuzz_same(const char *file, int line, const char *what, struct str a,
    struct str b)
{
	if (str_eq(a, b))
		return;
	fuzz_show("one", a);
	fuzz_show("other", b);
	fuzz_fail(file, line, "%s", what);
}

/* --- the input --- */

struct fuzz_in fuzz_in(const uint8_t *p, size_t n)
{
	return (struct fuzz_in){ { (const char *)p, n } };
}

unsigned fuzz_octet(struct fuzz_in *in)
{
	if (in->rest.n == 0)
		return 0;
	return (unsigned char)in->rest.p[--in->rest.n];
}

bool fuzz_bool(struct fuzz_in *in)
{
	return fuzz_octet(in) & 1;
}

uint64_t fuzz_number(struct fuzz_in *in, uint64_t max)
{
	uint64_t v = 0;

	for (uint64_t m = max; m > 0; m >>= 8)
		v = v << 8 | fuzz_octet(in);
	return max == UINT64_MAX ? v : v % (max + 1);
}

struct str fuzz_take(struct fuzz_in *in, size_t n)
{
	struct str s = str_sub(in->rest, 0, n);

	in->rest = str_from(in->rest, s.n);
	return s;
}

struct str fuzz_field(struct fuzz_in *in, char sep)
{
	ssize_t at = str_chr(in->rest, sep);
	struct str s;

	if (at < 0)
		return fuzz_rest(in);
	s = fuzz_take(in, (size_t)at);
	(void)fuzz_take(in, 1);
	return s;
}

struct str fuzz_rest(struct fuzz_in *in)
{
	return fuzz_take(in, in->rest.n);
}

static void **copies;
static size_t copy_count, copy_room;

static void *remember(void *p)
{
	if (p == NULL)
		fuzz_fail(__FILE__, __LINE__, "no memory");
	if (copy_count == copy_room) {
		copy_room = copy_room ? 2 * copy_room : 64;
		copies = realloc(copies, copy_room * sizeof(*copies));
		if (copies == NULL)
			fuzz_fail(__FILE__, __LINE__, "no memory");
	}
	copies[copy_count++] = p;
	return p;
}

struct str fuzz_exact(struct str s)
{
	char *p = remember(malloc(s.n ? s.n : 1));

	/* malloc(1) for none would leave an octet to read by mistake. */
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct str){ s.n ? p : p + 1, s.n };
}

char *fuzz_cstr(struct str s)
{
	ssize_t nul = str_chr(s, '\0');
	size_t n = nul < 0 ? s.n : (size_t)nul;
	char *p = remember(malloc(n + 1));

	if (n > 0)
		memcpy(p, s.p, n);
	p[n] = '\0';
	return p;
}

void fuzz_end(void)
{
	while (copy_count > 0)
		free(copies[--copy_count]);
	/* LeakSanitizer looks at what is reachable; nothing is kept. */
	free(copies);
	copies = NULL;
	copy_room = 0;
}

/* --- pieces --- */

struct fuzz_cuts fuzz_cuts(struct str text, unsigned way)
{
	uint64_t seed = crc32c(0, text.p, text.n) + 1;

	return (struct fuzz_cuts){ text, way,
		seed * UINT64_C(0x9e3779b97f4a7c15) + way, false };
}

/* xorshift64* : any generator would do, this one is three lines. */
static unsigned draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (unsigned)(*state * UINT64_C(0x2545f4914f6cdd1d) >> 33);
}

bool fuzz_piece(struct fuzz_cuts *c, struct str *piece_r)
{
	/* Way 2 cuts often, the others seldom. */
	size_t n = c->way == 0 ? c->rest.n : c->way == 1 ? 1 :
	    1 + draw(&c->random) % (c->way == 2 ? 4 : 1 + 16 * c->way);

	if (c->begun && c->rest.n == 0)
		return false;
	c->begun = true;
	*piece_r = str_sub(c->rest, 0, n);
	c->rest = str_from(c->rest, piece_r->n);
	if (c->way != 0)
		*piece_r = fuzz_exact(*piece_r);
	return true;
}

/* --- budgets --- */

/* The linker gives the compilers' calls to this one (--wrap, module.mk). */
void __wrap___sanitizer_cov_trace_pc(void);
/* In both compilers' run-time libraries; gcc has no header for them. */
int __sanitizer_install_malloc_and_free_hooks(
    void (*)(const volatile void *, size_t), void (*)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *);

static volatile uint64_t step_count;
static volatile ssize_t heap, heap_peak;

UNCOUNTED void __wrap___sanitizer_cov_trace_pc(void)
{
	step_count = step_count + 1;
}

UNCOUNTED static void on_malloc(const volatile void *p, size_t n)
{
	(void)p;
	heap = heap + (ssize_t)n;
	if (heap > heap_peak)
		heap_peak = heap;
}

UNCOUNTED static void on_free(const volatile void *p)
{
	if (p != NULL)
		heap = heap - (ssize_t)__sanitizer_get_allocated_size(p);
}

void fuzz_budget_start(void)
{
	static bool hooked;

	if (!hooked)
		__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
	hooked = true;
	heap = heap_peak = 0;
	step_count = 0;
}

uint64_t fuzz_steps(void)
{
	return step_count;
}

size_t fuzz_heap_peak(void)
{
	return (size_t)heap_peak;
}

void fuzz_steps_at_most(const char *file, int line, uint64_t per, size_t n,
    uint64_t base)
{
	uint64_t steps = step_count;

	if (steps > per * n + base)
		fuzz_fail(file, line, "%zu octets took %llu steps, which is "
		    "more than %llu * octets + %llu", n,
		    (unsigned long long)steps, (unsigned long long)per,
		    (unsigned long long)base);
}

void fuzz_heap_at_most(const char *file, int line, size_t octets)
{
	size_t peak = fuzz_heap_peak();

	if (peak > octets)
		fuzz_fail(file, line, "%zu octets of heap, more than %zu",
		    peak, octets);
}

/* --- surroundings --- */

static void swallow(enum log_level level, struct str line, void *ctx)
{
	(void)ctx;
	if (level >= LOG_LEVEL_FATAL)
		fuzz_show("log", line);
}

void fuzz_mute_log(void)
{
	if (getenv("FUZZ_LOG") == NULL)
		log_set_sink(swallow, NULL);
}

int fuzz_next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int fuzz_file(struct str octets)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	size_t at = 0;

	while (fd >= 0 && at < octets.n) {
		ssize_t k = pwrite(fd, octets.p + at, octets.n - at,
		    (off_t)at);

		if (k <= 0)
			fuzz_fail(__FILE__, __LINE__, "memfd: write failed");
		at += (size_t)k;
	}
	if (fd < 0)
		fuzz_fail(__FILE__, __LINE__, "memfd_create failed");
	return fd;
}

#define FILES_MAX 16

static int directory = -1;
static char directory_path[64];
static const char *files[FILES_MAX];	/* constants of the targets */
static size_t file_count;

static void remove_directory(void)
{
	while (file_count > 0)
		unlinkat(directory, files[--file_count], 0);
	rmdir(directory_path);
}

int fuzz_directory(const char **path_r)
{
	if (directory < 0) {
		snprintf(directory_path, sizeof(directory_path),
		    "%s/postern-fuzz-XXXXXX",
		    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (mkdtemp(directory_path) == NULL || (directory =
		    open(directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
		    < 0)
			fuzz_fail(__FILE__, __LINE__, "no directory");
		atexit(remove_directory);
	}
	if (path_r != NULL)
		*path_r = directory_path;
	return directory;
}

int fuzz_new_file(const char *name)
{
	int fd = openat(fuzz_directory(NULL), name,
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t i = 0;

	while (i < file_count && strcmp(files[i], name) != 0)
		i++;
	if (i == file_count && i < FILES_MAX)
		files[file_count++] = name;
	if (fd < 0)
		fuzz_fail(__FILE__, __LINE__, "cannot make %s", name);
	return fd;
}

void fuzz_put_file(const char *name, struct str octets)
{
	int fd = fuzz_new_file(name);

	if (octets.n > 0 && pwrite(fd, octets.p, octets.n, 0) !=
	    (ssize_t)octets.n)
		fuzz_fail(__FILE__, __LINE__, "cannot write %s", name);
	close(fd);
}
