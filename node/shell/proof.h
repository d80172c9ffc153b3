/* Proof that a run of a node is gone, so that its successor of the same name need not wait for the
 * lease to run out (DESIGN §6.3). A run tells in its lease row who it is: the boot of the machine,
 * the process-id namespace, the pid and when that process started; and the pod, where there is one,
 * or outside of containers the machine. Another process in the same namespace of the same boot can
 * see whether that very process exists. A container that is restarted within the same pod comes
 * after its predecessor's end by construction, and so does another boot of the same machine. */
#ifndef TROUPE_SHELL_PROOF_H
#define TROUPE_SHELL_PROOF_H

#include <stdbool.h>

#include "storage/store.h"

/* This process's text. */
void proof_make(char text[STORE_PROOF_BYTES_MAX + 1]);
/* Whether the run that wrote the text is certainly gone. false when in doubt. */
bool proof_is_gone(const char *text);

#endif
