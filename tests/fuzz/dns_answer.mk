fuzz_dns_answer_SRCS := dns/answer.c
fuzz_dns_answer_LIBS := msgs ipc base
