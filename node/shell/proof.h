/* Proof that a run of a node is gone, so that nobody need wait for its lease to run out (DESIGN
 * §6.3, §6.14). A run tells in its lease row who it is: the boot of the machine,
 * the process-id namespace, the pid and when that process started; and the pod, where there is one,
 * or outside of containers the machine. Another process in the same namespace of the same boot can
 * see whether that very process exists. Another boot of the same machine comes after its end by
 * construction, and so does, for a run of the same name, another container of the same pod. */
#ifndef TROUPE_SHELL_PROOF_H
#define TROUPE_SHELL_PROOF_H

#include <stdbool.h>

#include "storage/store.h"

/* This process's text. */
void proof_make(char text[STORE_PROOF_BYTES_MAX + 1]);
/* Whether the run that wrote the text is certainly gone; same_name: it bears this node's name.
 * false when in doubt. */
bool proof_is_gone(const char *text, bool same_name);

#endif
