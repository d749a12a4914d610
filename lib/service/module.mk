LIBS += service
service_SRCS := lib/service/service.c lib/service/sandbox.c \
	lib/service/logclient.c lib/service/spawn.c lib/service/agent.c \
	lib/service/overload.c lib/service/sessions.c
service_LDLIBS := -lcap -lseccomp
tests/unit/lib/service_LIBS := service msgs config ipc base
