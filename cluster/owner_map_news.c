/* News of the owner map: an entry that has changed is told mult * ceil(log10(n + 1)) times, the
 * least told first (SWIM §4.1, as swim_rumour.c). There is one piece of news per partition, its
 * present owner. The lists keep the order in which entries came, which for a claim of many
 * partitions is that of their numbers, and so makes long runs. See owner_map.h. */
#include "cluster/owner_map_impl.h"

static void list_add(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    struct owner_map_list *list = &m->news[e->told];
    e->news_prev = list->tail;
    e->news_next = OWNER_MAP_NONE;
    if (list->tail == OWNER_MAP_NONE)
        list->head = pid;
    else
        m->entries[list->tail].news_next = pid;
    list->tail = pid;
    list->n++;
}

static void list_remove(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    struct owner_map_list *list = &m->news[e->told];
    INVARIANT((e->flags & OWNER_MAP_HOT) != 0 && list->n > 0);
    if (e->news_prev == OWNER_MAP_NONE)
        list->head = e->news_next;
    else
        m->entries[e->news_prev].news_next = e->news_next;
    if (e->news_next == OWNER_MAP_NONE)
        list->tail = e->news_prev;
    else
        m->entries[e->news_next].news_prev = e->news_prev;
    list->n--;
}

static void untell(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    if ((e->flags & OWNER_MAP_HOT) == 0)
        return;
    list_remove(m, pid);
    e->flags &= (uint8_t)~OWNER_MAP_HOT;
    m->news_n--;
}

void owner_map__tell(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    untell(m, pid);
    if (m->told_limit == 0)
        return;
    e->told = 0;
    e->flags |= OWNER_MAP_HOT;
    list_add(m, pid);
    m->news_n++;
}

void owner_map_set_audience(struct owner_map *m, uint32_t members, uint32_t mult)
{
    uint64_t digits = 0;
    for (uint64_t power = 1; power < (uint64_t)members + 1; power *= 10)
        digits++;
    uint64_t limit = members <= 1 ? 0 : mult * digits;
    m->told_limit = limit < OWNER_MAP_TOLD_MAX ? (uint32_t)limit : OWNER_MAP_TOLD_MAX;
    if (m->told_limit != 0)
        return;
    for (uint32_t i = 0; i < OWNER_MAP_TOLD_MAX; i++) {
        while (m->news[i].n > 0)
            untell(m, m->news[i].head);
    }
    INVARIANT(m->news_n == 0);
}

bool owner_map_has_news(const struct owner_map *m)
{
    return m->news_n > 0;
}

/* Told once more: moves on, or is over. */
static void told(struct owner_map *m, uint32_t pid)
{
    struct owner_map_entry *e = &m->entries[pid];
    if (e->told + 1U >= m->told_limit) {
        untell(m, pid);
        return;
    }
    list_remove(m, pid);
    e->told++;
    list_add(m, pid);
}

size_t owner_map_put_news(struct owner_map *m, uint8_t *out, size_t size)
{
    struct owner_map_writer w;
    bool full = false;
    uint32_t moved = 0; /* to the end of the next list, by this payload */
    owner_map__begin(&w, m, out, size);
    for (uint32_t i = 0; i < OWNER_MAP_TOLD_MAX && m->news_n > 0 && !full; i++) {
        uint32_t n = m->news[i].n - moved;
        moved = 0;
        for (; n > 0 && !full; n--) {
            uint32_t pid = m->news[i].head;
            full = !owner_map__put(&w, pid, 0);
            if (!full) {
                moved += i + 1 < m->told_limit;
                told(m, pid);
            }
        }
    }
    return owner_map__end(&w, OWNER_MAP_NEWS) ? w.used : 0;
}
