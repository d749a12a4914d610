#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include "trace_death.h"

#define STACK_LOOKED_AT 8192	/* octets */
#define PLACES_MAX 12

struct code {
	uint64_t start, end, offset;	/* offset: in the file */
	char name[64];
};

/* What may be executed: /proc/PID/maps, without the paths' directories. */
static size_t code_of(pid_t tid, struct code *found, size_t max)
{
	char path[64], line[512], name[256];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)tid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	while (n < max && fgets(line, sizeof(line), f) != NULL) {
		struct code *c = &found[n];
		char mode[8];
		const char *base;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64
		    " %*s %*s %255s", &c->start, &c->end, mode, &c->offset,
		    name) < 5 || strchr(mode, 'x') == NULL)
			continue;
		base = strrchr(name, '/');
		snprintf(c->name, sizeof(c->name), "%.63s",
		    base == NULL ? name : base + 1);
		n++;
	}
	fclose(f);
	return n;
}

void death_place(pid_t tid, char *out, size_t size)
{
	static struct code code[128];
	static uint64_t stack[STACK_LOOKED_AT / sizeof(uint64_t)];
	struct user_regs_struct regs;
	struct iovec whole = { &regs, sizeof(regs) }, to, from;
	size_t n = code_of(tid, code, 128), words = 0, at = 0;
	ssize_t got;

	out[0] = '\0';
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &whole) < 0)
		return;
	to = (struct iovec){ stack, sizeof(stack) };
	from = (struct iovec){ (void *)regs.rsp, sizeof(stack) };
	got = process_vm_readv(tid, &to, 1, &from, 1, 0);
	if (got > 0)
		words = (size_t)got / sizeof(*stack);
	for (size_t i = 0, places = 0; i <= words && places < PLACES_MAX; i++) {
		uint64_t address = i == 0 ? regs.rip : stack[i - 1];

		for (size_t k = 0; k < n; k++) {
			if (address < code[k].start || address >= code[k].end)
				continue;
			at += (size_t)snprintf(out + at, size - at,
			    "%s%s+0x%" PRIx64, at > 0 ? " " : "",
			    code[k].name,
			    address - code[k].start + code[k].offset);
			if (at >= size)
				return;
			places++;
			break;
		}
	}
}
