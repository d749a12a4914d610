fuzz_path_SRCS := smtpd/esmtp.c
fuzz_path_LIBS := mail base
