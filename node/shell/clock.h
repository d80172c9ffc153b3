/* The clocks that the runtime is told: read afresh each time, never cached. */
#ifndef TROUPE_SHELL_CLOCK_H
#define TROUPE_SHELL_CLOCK_H

#include "node/runtime/runtime.h"

struct runtime_time clock_now(void);

#endif
