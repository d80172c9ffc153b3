/* Safety checks that can be taken away, one at a time, to see that the simulator notices. The
 * product is not touched: what a store without that check would do is done at the store's edge
 * (disk.c, mutant_store.c), what a careless driver would do in the driver (nodes.c), what a node
 * without it would make of a message at the wire (mutant_wire.c), and the rest where functions of
 * the runtime call each other (mutant_product.c). */
#ifndef TROUPE_SIM_CLUSTER_MUTANTS_H
#define TROUPE_SIM_CLUSTER_MUTANTS_H

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_FENCE,        /* saves are applied whoever owns the partition */
    MUTANT_KEY_SHARE,       /* the fence is checked, but does not hold a claim up till the commit */
    MUTANT_ONE_SNAPSHOT,    /* rows are loaded in the snapshot in which the claim began to wait */
    MUTANT_STORE_CLOCK,     /* who is expired by the store's clock is evicted without having been
                               watched */
    MUTANT_DEADLINE_BEFORE, /* the lease's deadline is checked before the handler only */
    MUTANT_PROMISE,         /* a long lease of one that was alone is not respected */
    MUTANT_NO_RECHECK,      /* a failover of the store is not noticed */
    MUTANT_NOT_AGAIN,       /* what it has lost is not written again */
    MUTANT_EPOCH,           /* epochs and generations that it has lost are handed out again */
    MUTANT_OUTCOME_FAILED,  /* an unknown outcome is taken for a failure */
    MUTANT_LATE_LOAD, /* what was being loaded when its partition was lost is believed later */
    MUTANT_TRANSFER_FAILED, /* a handover of unknown outcome is taken for one that has failed */
    MUTANT_FORWARD_AGAIN,   /* a forwarded call that may have been executed, and has no request id,
                               is sent again */
    MUTANT_NO_DEDUP,        /* request ids are not remembered */
    MUTANT_LETTERS_UNGATED, /* what entities send each other does not wait for their commits */
    MUTANT_CAST_AGAIN,      /* a forwarded message that may have been run is sent again */
    MUTANT_TIMERS_STAY,     /* timers do not move along with their entities */
    MUTANT_BATCH_UNGATED,   /* answers to one of several calls do not wait for commits */
    MUTANT_READ_UNGATED,    /* nor do answers to reads */
    MUTANT_STOP_UNSAVED,    /* who stops by itself is not saved first */
    MUTANT_EVICT_UNSAVED,   /* nor is who has to go for want of memory */
    MUTANT_OLD_RENEWAL,     /* a renewal from before the clocks jumped counts, and so does a map in
                               which the run that reads it is dead */
    MUTANT_NO_JUMP,         /* that the clocks have jumped is not seen */
    MUTANT_DEPOSED,         /* what a deposed server answers is believed */
    MUTANT_NO_WINDOW,       /* request ids are not in rows and transfers, only in memory */
    MUTANT_FORGOTTEN,       /* … that have been forgotten are taken for new */
    MUTANT_ONE_FLOOR,       /* … below the highest of any client are taken for old */
    MUTANT_WIPED_WINDOW,    /* … go with the entity that is deleted */
    MUTANT_CRASH_KEPT,      /* what a handler that crashed has done stays in memory */
    MUTANT_ALL_KNOW,        /* of all runs it is believed that they know of whoever asks */
    MUTANT_KIND_LACKING,    /* who lacks a kind that is open takes partitions all the same */
    MUTANT_NO_REDIAL,       /* what others tell of a later server is not looked into */
    MUTANTS,
};

extern const char *const mutant_names[MUTANTS];

#endif
