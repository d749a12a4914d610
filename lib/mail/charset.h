/*
 * charset.h - text in other character sets to UTF-8
 *
 * Single-octet sets are constant tables and need nothing from the system.
 * Multi-octet sets are iconv(3) descriptors, which an empty root directory or
 * a system call filter would refuse: mail_charset_open_all() opens them
 * before. Each has a lock, so any thread may convert.
 */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H
#include "base/buf.h"

struct mail_charset;

/*
 * Opens what is not a table; once, before chroot, Landlock and seccomp, and
 * before threads. Returns how many sets this system lacks (0: all there);
 * those are unknown to mail_charset_find().
 */
int mail_charset_open_all(void);
/* By name or alias, without case; NULL: unknown. Never opens anything. */
const struct mail_charset *mail_charset_find(struct str name);
const char *mail_charset_name(const struct mail_charset *);
extern const struct mail_charset *const mail_charset_utf8;
extern const struct mail_charset *const mail_charset_ascii;
/*
 * Appends `in` as valid UTF-8; what cannot be converted becomes U+FFFD. An
 * incomplete character at the end is kept back when `more` is set: the
 * octets used are returned, the caller gives the rest again with what
 * follows. In stateful sets (ISO-2022-JP) pieces should end at a line end.
 * -1: out's limit.
 */
ssize_t mail_charset_convert(const struct mail_charset *, struct str in,
    bool more, struct buf *out);
/*
 * For a text that comes in pieces: the order of UTF-16 is known by its first
 * two octets only (RFC 2781 4.3; big-endian without a mark). Of other sets
 * the set itself.
 */
const struct mail_charset *mail_charset_of_text(const struct mail_charset *,
    struct str start);
/* All of it. 0 or -1 (out's limit). */
int mail_charset_to_utf8(const struct mail_charset *, struct str in,
    struct buf *out);
/* One code point as UTF-8 (U+FFFD for what is none). */
int mail_utf8_append(struct buf *, uint32_t code);
/* The code point at s.p (s.n > 0), and its octets through *n_r; an octet
 * that starts no valid character gives -1 and 1. */
int32_t mail_utf8_next(struct str s, size_t *n_r);
/* Simple case folding (Unicode): upper to lower and the few odd ones. */
uint32_t mail_fold_code(uint32_t code);
/* Appends utf8 with each character folded; invalid octets as U+FFFD. */
int mail_fold(struct str utf8, struct buf *out);
#endif
