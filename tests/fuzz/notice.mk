fuzz_notice_SRCS := bounce/notice.c
fuzz_notice_LIBS := config queue mail msgs ipc base
