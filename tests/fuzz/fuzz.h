/*
 * fuzz.h - what the targets share: taking inputs apart, and oracles
 *
 * A target is one file, tests/fuzz/TARGET.c, with LLVMFuzzerTestOneInput().
 * It never crashes by itself: it says what must hold with fuzz_check(). The
 * same file is linked with libFuzzer (`make fuzz`) and with replay.c (`make
 * check`), so nothing here needs clang.
 *
 * Choices (options, numbers) are taken from the end of the input, so that
 * text in front stays readable in the corpus and a plain text is a seed.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
/* Optional; before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Prints file, line and the text, and aborts: a finding. */
void fuzz_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));
#define fuzz_check(cond, ...) \
	((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))
/* Prints octets escaped, in quotes, for a finding: "label: "..."". */
void fuzz_show(const char *label, struct str);
/* Same octets, or a finding that shows both. */
#define fuzz_check_same(what, a, b) \
	fuzz_same(__FILE__, __LINE__, (what), (a), (b))
void fuzz_same(const char *file, int line, const char *what, struct str a,
    struct str b);

/* The input: what is left of it. */
struct fuzz_in {
	struct str rest;
};
struct fuzz_in fuzz_in(const uint8_t *p, size_t n);
/* From the end; 0 when nothing is left. */
unsigned fuzz_octet(struct fuzz_in *);
bool fuzz_bool(struct fuzz_in *);
/* 0 to max; eight octets or fewer, as max needs. */
uint64_t fuzz_number(struct fuzz_in *, uint64_t max);
/* From the front: up to the octet sep (which is left out), or all. */
struct str fuzz_field(struct fuzz_in *, char sep);
/* From the front: n octets or what there is. */
struct str fuzz_take(struct fuzz_in *, size_t n);
struct str fuzz_rest(struct fuzz_in *);
/*
 * A copy on the heap without one octet more than s has (and no NUL behind),
 * so that a read past its end is seen; for the life of this input.
 */
struct str fuzz_exact(struct str);
/* The same as a C string (cut at the first NUL). */
char *fuzz_cstr(struct str);
/* Frees what fuzz_exact() and fuzz_cstr() gave; at the end of an input. */
void fuzz_end(void);

/*
 * Ways to cut a text into pieces: 0 whole, 1 octet by octet, others by a
 * generator that the text itself seeds.
 *
 *	for (unsigned way = 0; way < FUZZ_WAYS; way++) {
 *		struct fuzz_cuts c = fuzz_cuts(text, way);
 *		while (fuzz_piece(&c, &piece))
 *			...
 */
#define FUZZ_WAYS 5
struct fuzz_cuts {
	struct str rest;
	unsigned way;
	uint64_t random;
	bool begun;
};
struct fuzz_cuts fuzz_cuts(struct str text, unsigned way);
/* Pieces are fuzz_exact() copies when way is not 0. An empty text has one
 * empty piece. */
bool fuzz_piece(struct fuzz_cuts *, struct str *piece_r);

/*
 * Budgets. Steps are edges of the control flow of our code (a loop inside
 * libc counts nothing); octets are those of the heap at the most at once.
 * Both count from the last fuzz_budget_start().
 */
void fuzz_budget_start(void);
uint64_t fuzz_steps(void);
size_t fuzz_heap_peak(void);
/* A finding when more than per * n + base steps were made. */
#define fuzz_check_steps(per, n, base) \
	fuzz_steps_at_most(__FILE__, __LINE__, (per), (n), (base))
void fuzz_steps_at_most(const char *file, int line, uint64_t per, size_t n,
    uint64_t base);
#define fuzz_check_heap(octets) \
	fuzz_heap_at_most(__FILE__, __LINE__, (octets))
void fuzz_heap_at_most(const char *file, int line, size_t octets);

/* Log lines of the code are swallowed from now on, but for fatal ones; with
 * FUZZ_LOG in the environment they are shown. */
void fuzz_mute_log(void);
/* The number that the next descriptor gets: another than before when one was
 * left open. */
int fuzz_next_descriptor(void);
/* A file descriptor of a file in memory with these octets, offset 0; the
 * caller closes it. */
int fuzz_file(struct str octets);
/*
 * A directory of this process, in memory where the machine has such a place
 * (a sync costs nothing there); its path. It is removed at exit, with the
 * files that fuzz_put_file() made.
 */
int fuzz_directory(const char **path_r);
/* The file of that name in it has these octets now. */
void fuzz_put_file(const char *name, struct str octets);
/* It, empty, open for reading and writing. */
int fuzz_new_file(const char *name);
#endif
