TOOLS += escape-probe
escape-probe_SRCS := tests/probe/probe.c
escape-probe_LIBS := service msgs config ipc base
