/* INVARIANT(cond): our own assertion, kept on in release builds (TigerStyle: "assertions detect
 * programmer errors"). It states what our code guarantees to itself. Nothing that comes from a
 * client, a peer, a file or the database may ever decide one: such input is an error value. */
#ifndef TROUPE_BASE_INVARIANT_H
#define TROUPE_BASE_INVARIANT_H

#define INVARIANT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            invariant_failed(__FILE__, __LINE__, __func__, #cond);                                 \
    } while (0)

/* Writes one line to stderr and aborts. */
__attribute__((noreturn, cold)) void invariant_failed(const char *file, int line, const char *func,
                                                      const char *cond);

#endif
