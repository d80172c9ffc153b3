/* See network.h. */
#include "tests/sim/membership/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

struct sim_frame *sim_frame_new(const uint8_t *bytes, uint32_t len)
{
    struct sim_frame *frame = malloc(sizeof *frame + len);
    INVARIANT(frame != NULL);
    *frame = (struct sim_frame){.len = len};
    memcpy(frame->bytes, bytes, len);
    return frame;
}

void sim_waiting_push(struct sim_waiting *w, struct sim_frame *frame)
{
    if (w->n == SIM_WAITING_MAX) {
        free(frame);
        return;
    }
    frame->next = NULL;
    if (w->tail == NULL)
        w->head = frame;
    else
        w->tail->next = frame;
    w->tail = frame;
    w->n++;
}

struct sim_frame *sim_waiting_pop(struct sim_waiting *w)
{
    struct sim_frame *frame = w->head;
    if (frame == NULL)
        return NULL;
    w->head = frame->next;
    if (w->head == NULL)
        w->tail = NULL;
    w->n--;
    return frame;
}

void sim_waiting_clear(struct sim_waiting *w)
{
    for (struct sim_frame *frame; (frame = sim_waiting_pop(w)) != NULL;)
        free(frame);
}

bool sim_network_carry(const struct sim_network *net, struct dice *dice, uint8_t from_group,
                       uint8_t to_group, uint64_t *ns)
{
    if (net->cut[from_group][to_group])
        return false;
    if (net->loss_per_mille != 0 && dice_below(dice, 1000) < net->loss_per_mille)
        return false;
    *ns = net->latency_ns + dice_below(dice, net->jitter_ns + 1);
    return true;
}

void sim_network_part(struct sim_network *net, uint8_t a, uint8_t b, bool cut)
{
    net->cut[a][b] = net->cut[b][a] = cut;
}
