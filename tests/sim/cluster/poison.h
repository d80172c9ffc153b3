/* Wrong words about owners, and whether they are forgotten. See poison.c. */
#ifndef TROUPE_SIM_CLUSTER_POISON_H
#define TROUPE_SIM_CLUSTER_POISON_H

#include <stdbool.h>

struct world;

/* Some node hears some. */
void poison_one(struct world *w);
/* No node has an epoch that is above the store's; else *why says which. */
bool poison_is_healed(const struct world *w, char why[64]);

#endif
