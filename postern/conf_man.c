/* conf_man.c - main.cf(5), from the one table of parameters */
#include <stdio.h>
#include <string.h>
#include "config/params.h"
#include "postern/conf.h"

/*
 * Text in which nothing is a request or an escape of mdoc(7), in lines of
 * less than 78 octets; a sentence begins a line, as mdoc wants it.
 */
static void put_text(const char *text)
{
	struct str rest = str_of(text), word;
	size_t column = 0;
	char last = '\0';

	while (str_word(&rest, " ", &word)) {
		bool begins = last == '.' && *word.p >= 'A' && *word.p <= 'Z';

		if (column > 0 && (begins || column + 1 + word.n > 76)) {
			putchar('\n');
			column = 0;
		}
		if (column > 0)
			putchar(' ');
		else if (*word.p == '.' || *word.p == '\'')
			fputs("\\&", stdout);
		for (size_t i = 0; i < word.n; i++)
			if (word.p[i] == '\\')
				fputs("\\e", stdout);
			else
				putchar(word.p[i]);
		column += word.n + (column > 0);
		last = word.p[word.n - 1];
	}
	putchar('\n');
}

/* The same as one argument of a macro. */
static void put_argument(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++)
		if (*text == '"')
			fputs("\\(dq", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else
			putchar(*text);
	putchar('"');
}

static const char *kind_of(const struct param *p)
{
	switch (p->kind) {
	case PARAM_STR: case PARAM_RAW: return "text";
	case PARAM_INT: return "number";
	case PARAM_SIZE: return "octets";
	case PARAM_TIME: return "time";
	case PARAM_BOOL: return "yes or no";
	case PARAM_ENUM: return "word";
	}
	return "";
}

/* "a|b|c" as a sentence. */
static void put_words(const char *words)
{
	struct str rest = str_of(words), word;
	struct buf out;

	buf_init(&out, 4096);
	while (str_word(&rest, "|", &word))
		buf_printf(&out, "%s" STR_FMT, out.n ? ", " : "One of: ",
		    STR_ARG(word));
	buf_append_char(&out, '.');
	put_text(buf_cstr(&out));
	buf_fini(&out);
}

static void put_row(const struct param *p)
{
	printf(".It Ic %s Pq %s", p->name, kind_of(p));
	if (p->default_text[0] != '\0') {
		fputs(" Pq default : Li ", stdout);
		put_argument(p->default_text);
	}
	putchar('\n');
	put_text(p->help);
	if (p->kind == PARAM_ENUM) {
		put_words(p->words);
	} else if (p->kind == PARAM_INT || p->kind == PARAM_SIZE ||
	    p->kind == PARAM_TIME) {
		if (p->most == INT64_MAX)
			printf("From %lld.\n", (long long)p->least);
		else
			printf("From %lld to %lld%s.\n", (long long)p->least,
			    (long long)p->most,
			    p->kind == PARAM_TIME ? " seconds" : "");
	}
}

static const char head[] =
    ".Dd $Mdocdate$\n"
    ".Dt MAIN.CF 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm main.cf\n"
    ".Nd parameters of the mail suite\n"
    ".Sh DESCRIPTION\n"
    "A line\n"
    ".Ql name = value\n"
    "sets a parameter.\n"
    "A line that begins with white space continues the one before; empty\n"
    "lines and lines whose first visible character is\n"
    ".Ql #\n"
    "are comments, also between a line and its continuation.\n"
    ".Pp\n"
    "In values these are replaced, again in what they become:\n"
    ".Bl -tag -width Ds\n"
    ".It Li $name , ${name} , $(name)\n"
    "the value of a parameter, also of one that the file makes up.\n"
    ".It Li ${name?text} , ${name?{text}}\n"
    "the text when the value is not empty.\n"
    ".It Li ${name:text} , ${name:{text}}\n"
    "the text when the value is empty.\n"
    ".It Li \"${name?{text1}:{text2}}\"\n"
    "one of the two.\n"
    ".It Li \"${{text1} == {text2} ? {text3} : {text4}}\"\n"
    "a comparison; also\n"
    ".Li != < <= > >= ,\n"
    "as numbers when both are.\n"
    ".It Li $$\n"
    "a dollar sign.\n"
    ".El\n"
    ".Pp\n"
    "A time is a number and\n"
    ".Li s , m , h , d\n"
    "or\n"
    ".Li w ;\n"
    "without one the unit is that of the default.\n"
    "A number of octets may end in\n"
    ".Li k , M\n"
    "or\n"
    ".Li G .\n"
    "Words in lists are separated by commas or white space.\n"
    ".Pp\n"
    ".Ql postern check\n"
    "reads the file and reports every mistake with its line.\n";

static const char tail[] =
    ".Sh SEE ALSO\n"
    ".Xr postern 1 ,\n"
    ".Xr aliases 5 ,\n"
    ".Xr master.cf 5\n";

int conf_print_manual(void)
{
	const char *group = "", *now, *title;

	fputs(head, stdout);
	for (const struct param *p = params_table; p->name != NULL; p++) {
		now = param_group(p, &title);
		if (strcmp(now, group) != 0) {
			if (*group != '\0')
				puts(".El");
			printf(".Sh %s\n.Bl -tag -width Ds\n", title);
			group = now;
		}
		put_row(p);
	}
	printf(".El\n%s", tail);
	return fflush(stdout) != 0;
}
