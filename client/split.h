/* Which calls of a batch travel together. */
#ifndef TROUPE_CLIENT_SPLIT_H
#define TROUPE_CLIENT_SPLIT_H

#include "client/batch.h"

/* Where its calls are on the hash circle. Without the lock: it is most of the work. */
void split_prepare(struct troupe_batch *batch);
/* Makes the batch's legs: one for each node that owns some of its calls and can be asked, one for
 * what is to go by any node, one for what the seed alone is to be asked; at most legs_max, and one
 * when there is no memory for more. prepared: split_prepare has been called. Under the lock. */
void split_batch(struct troupe_batch *batch, bool prepared, size_t legs_max);
/* The way of what is left of a leg for its next attempt. Under the lock. */
void split_again(struct leg *leg);

#endif
