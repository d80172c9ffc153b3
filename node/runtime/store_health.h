/* What this node knows of how its store does: see store_health.c. */
#ifndef TROUPE_RUNTIME_STORE_HEALTH_H
#define TROUPE_RUNTIME_STORE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/store.h"

enum { STORE_OPS = STORE_KINDS + 1 };

/* Of one kind of request. */
struct store_op_health {
    uint64_t since_ns;  /* it fails since then; 0: it worked when it was last tried, or never was */
    uint64_t failed_ns; /* the last time */
    uint64_t late_ns;   /* since then it should have been answered; 0: it is not late */
    bool refused;       /* the store answers, but not what was asked */
    bool told;          /* by the log */
    char why[STORE_ERRMSG_BYTES];
};

struct store_health {
    struct store_op_health ops[STORE_OPS];
    bool answered; /* something has worked since the node started */
    bool well;     /* as the log has told it */
    uint64_t looked_ns;
};

/* One that fails or is late, for whoever shows it. */
struct store_trouble {
    const char *doing; /* "saving entities" */
    const char *why;   /* valid until the next step */
    uint64_t for_ms;
};

#endif
