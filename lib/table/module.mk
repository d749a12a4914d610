LIBS += table
table_SRCS := lib/table/table.c lib/table/source.c lib/table/text.c \
	lib/table/bdb.c lib/table/writer.c lib/table/pattern.c
table_LDLIBS := $(BDB_LDLIBS) -lpcre2-8
tests/unit/lib/table_LIBS := table config base
