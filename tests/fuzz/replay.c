/*
 * replay.c - gives files, and all files of folders, to a target once each
 *
 *	fuzz-TARGET FILE|FOLDER...
 *
 * Stands in for libFuzzer, so that any compiler replays the corpora. The
 * first finding ends it with the file's name; it also ends when one input
 * takes REPLAY_SECONDS, which is not a measure but the end of an endless
 * loop.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

#define REPLAY_SECONDS 60

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
void __sanitizer_set_death_callback(void (*)(void));

static char current[4096] = "the start";
static unsigned count;

static void say_file(void)
{
	static const char text[] = "replay: with ";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)!write(STDERR_FILENO, current, strlen(current));
	(void)!write(STDERR_FILENO, "\n", 1);
}

static void on_signal(int sig)
{
	say_file();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void run_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;
	size_t n = 0;
	ssize_t k;

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(2);
	}
	/* Exactly its size: a read behind it must be seen. */
	p = malloc(st.st_size ? (size_t)st.st_size : 1);
	while (p != NULL && n < (size_t)st.st_size &&
	    (k = read(fd, p + n, (size_t)st.st_size - n)) > 0)
		n += (size_t)k;
	close(fd);
	snprintf(current, sizeof(current), "%s", path);
	alarm(REPLAY_SECONDS);
	LLVMFuzzerTestOneInput(p, n);
	alarm(0);
	free(p);
	count++;
}

static void run_path(const char *path)
{
	struct stat st;
	struct dirent **list;
	int n;

	if (stat(path, &st) < 0)
		return;		/* a target without regressions */
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char name[4096];

		if (list[i]->d_name[0] != '.' &&
		    snprintf(name, sizeof(name), "%s/%s", path,
		    list[i]->d_name) < (int)sizeof(name))
			run_path(name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

int main(int argc, char **argv)
{
	signal(SIGABRT, on_signal);
	signal(SIGALRM, on_signal);
	__sanitizer_set_death_callback(say_file);
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	snprintf(current, sizeof(current), "the end");
	if (count == 0) {
		fprintf(stderr, "replay: there was no input\n");
		return 2;
	}
	printf("%u inputs\n", count);
	return 0;
}
