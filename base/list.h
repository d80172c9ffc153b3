/* An intrusive doubly linked list with a sentinel: O(1) insert and remove, no allocation. An
 * element that is on no list is linked to itself, so that list_remove is safe to call twice. */
#ifndef TROUPE_BASE_LIST_H
#define TROUPE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push(struct list *l, struct list *node)
{
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first element taken off, or NULL. */
static inline struct list *list_pop(struct list *l)
{
    struct list *node = l->next;
    if (node == l)
        return NULL;
    /* Not list_remove: it finds l through node->prev, which a static analyzer cannot follow. */
    l->next = node->next;
    node->next->prev = l;
    list_init(node);
    return node;
}

/* All of from goes to the end of l; from is empty afterwards. */
static inline void list_splice(struct list *l, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = l->prev;
    l->prev->next = from->next;
    from->prev->next = l;
    l->prev = from->prev;
    list_init(from);
}

#endif
