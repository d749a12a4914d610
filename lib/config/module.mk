LIBS += config
config_SRCS := lib/config/params.c lib/config/expand.c lib/config/lines.c \
	lib/config/main_cf.c lib/config/master_cf.c lib/config/eval.c \
	lib/config/config.c lib/config/known.c lib/config/suggest.c \
	lib/config/commands.c lib/config/check.c lib/config/check_access.c \
	lib/config/users_file.c
tests/unit/lib/config_LIBS := config base
