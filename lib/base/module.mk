LIBS += base
base_SRCS := lib/base/str.c lib/base/buf.c lib/base/arena.c lib/base/sys.c \
	lib/base/clock.c lib/base/log.c lib/base/map.c lib/base/crc32c.c \
	lib/base/loop.c lib/base/base64.c

tests/unit/lib/base_LIBS := base
