/* Clients whose entities are deleted and crash. */
#ifndef TROUPE_SIM_CLUSTER_SCRIBES_H
#define TROUPE_SIM_CLUSTER_SCRIBES_H

struct world;

void scribes_open(struct world *w);
void scribes_close(struct world *w);

#endif
