/* A node hears of owners that no store has given anything: by epochs that are too high, which its
 * map would keep for ever if higher ones were all that counts. In the calm that follows, no map has
 * an epoch that the store has not. */
#include "tests/sim/cluster/poison.h"

#include <inttypes.h>

#include "base/invariant.h"
#include "tests/sim/cluster/peek.h"
#include "tests/sim/cluster/world.h"

enum { MORE_MAX = 5000, FRAME_BYTES = 16 << 10 };

void poison_one(struct world *w)
{
    static uint8_t bytes[FRAME_BYTES];
    uint64_t epochs[PARTITIONS];
    struct node *n = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    const struct node *from = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    const struct node *owner = &w->nodes[dice_below(&w->dice, w->nodes_n)];
    uint32_t first = (uint32_t)dice_below(&w->dice, PARTITIONS);
    bool nobodys = dice_below(&w->dice, 3) == 0;
    for (uint32_t pid = 0; pid < PARTITIONS; pid++)
        epochs[pid] = pid < first ? 0 : w->owners[pid].epoch + 1 + dice_below(&w->dice, MORE_MAX);
    if (n->run == NULL || node_is_paused(n) || n->run->unperformed)
        return;
    size_t len = peek_wrong_owners(n->run->rt, from->name, nobodys ? "nobody" : owner->name, epochs,
                                   bytes, sizeof bytes);
    if (len == 0)
        return;
    world_trace(w, "%s hears of wrong owners", n->client);
    run_step(n->run, &(struct runtime_event){.type = RUNTIME_FRAME, .u.frame = {bytes, len}});
}

bool poison_is_healed(const struct world *w, char why[64])
{
    for (uint32_t i = 0; i < w->nodes_n; i++) {
        const struct run *run = w->nodes[i].run;
        for (uint32_t pid = 0; run != NULL && pid < PARTITIONS; pid++) {
            uint64_t epoch = peek_epoch(run->rt, pid);
            if (epoch <= w->owners[pid].epoch)
                continue;
            snprintf(why, 64, "n%u has epoch %" PRIu64 " of partition %u", i, epoch, pid);
            return false;
        }
    }
    return true;
}
