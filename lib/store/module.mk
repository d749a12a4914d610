LIBS += store
store_SRCS := lib/store/mbname.c lib/store/mutf7.c lib/store/wire.c \
	lib/store/lock.c lib/store/dirsync.c lib/store/names.c \
	lib/store/maildir.c lib/store/validity.c lib/store/uidlines.c \
	lib/store/uidlist.c lib/store/scan.c lib/store/place.c \
	lib/store/delivery.c lib/store/inboxes.c lib/store/mailbox.c lib/store/flags.c \
	lib/store/expunge.c lib/store/copy.c lib/store/text.c lib/store/mapped.c \
	lib/store/store.c lib/store/folders.c lib/store/subscriptions.c
tests/unit/lib/store_LIBS := store base
tests/unit/lib/store_SRCS := tests/unit/lib/store/fixture.c
