/* A kind for the simulation whose entities are wiped and go wrong: slates. A slate has the tokens
 * that were put on it, in their order. To wipe it deletes it; to spoil it puts a token on it and
 * crashes, so that it starts again from what was persisted, which is all but that token: whatever
 * changes a slate is durable. scribes.c knows what must be on it. */
#ifndef TROUPE_SIM_CLUSTER_SLATE_H
#define TROUPE_SIM_CLUSTER_SLATE_H

#include "troupe/entity.h"

enum { SLATE_TOKENS_MAX = 64 };

enum slate_method { SLATE_READ, SLATE_PUT, SLATE_WIPE, SLATE_SPOIL, SLATE_METHODS };

/* The payload of all of them is a token; the answer of all is what is on the slate after it. */
extern const struct troupe_kind slate_kind;
extern const char *const slate_methods[SLATE_METHODS];

#endif
