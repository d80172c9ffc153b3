/* Those who pay from one account to another, and what must be true of the letters that follow. */
#ifndef TROUPE_SIM_CLUSTER_ACCOUNTS_H
#define TROUPE_SIM_CLUSTER_ACCOUNTS_H

struct world;

void accounts_open(struct world *w);
void accounts_close(struct world *w);
/* After the last fault: no payment is begun any more; all must arrive, and sum up. */
void accounts_settle(struct world *w);

#endif
