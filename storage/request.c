/* See request.h. */
#include "storage/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "base/utf8.h"

int store__fail(struct store_request *request, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(request->errmsg, sizeof request->errmsg, format, args);
    va_end(args);
    request->error = error;
    return error;
}

int store__fail_memory(struct store_request *request)
{
    return store__fail(request, TROUPE_ENOMEM,
                       "out of memory for the answer; ask for less at once or raise the limit");
}

/* ---- options ---- */

static bool is_text(const char *text, size_t bytes_min, size_t bytes_max)
{
    size_t len = text == NULL ? 0 : strnlen(text, bytes_max + 1);
    return len >= bytes_min && len <= bytes_max && utf8_is_valid(troupe_bytes(text, len));
}

int store__check_options(const struct store_options *options, char errmsg[STORE_ERRMSG_BYTES])
{
    const char *why = NULL;
    if (options->url == NULL || options->url[0] == '\0')
        why = "the store has no url; give it one, such as sqlite:troupe.db";
    else if (!is_text(options->cluster, 1, STORE_NAME_BYTES_MAX))
        why = "a cluster's name is 1 to 63 bytes of UTF-8";
    else if (name_partition_bits(store__partitions(options)) < 0)
        why = "the number of partitions is a power of two from 256 to 65536";
    if (why != NULL)
        snprintf(errmsg, STORE_ERRMSG_BYTES, "%s", why);
    return why == NULL ? 0 : TROUPE_EINVAL;
}

uint32_t store__partitions(const struct store_options *options)
{
    return options->partitions == 0 ? PARTITIONS_DEFAULT : options->partitions;
}

/* ---- requests ---- */

static int check_name(struct store_request *r, const char *name)
{
    if (is_text(name, 1, STORE_NAME_BYTES_MAX))
        return 0;
    return store__fail(r, TROUPE_EINVAL, "a node's name is 1 to %d bytes of UTF-8",
                       STORE_NAME_BYTES_MAX);
}

static int check_run(struct store_request *r, const char *name, uint64_t generation)
{
    int rc = check_name(r, name);
    if (rc == 0 && generation > INT64_MAX)
        rc = store__fail(r, TROUPE_EINVAL, "a generation is below 2^63");
    return rc;
}

static bool is_same_run(const char *a, uint64_t a_generation, const char *b, uint64_t b_generation)
{
    return a_generation == b_generation && strcmp(a, b) == 0;
}

static int check_register(struct store_request *r)
{
    struct store_register *reg = &r->u.reg;
    int rc = check_name(r, reg->name);
    if (rc != 0)
        return rc;
    reg->addr = reg->addr == NULL ? "" : reg->addr;
    reg->gossip = reg->gossip == NULL ? "" : reg->gossip;
    reg->proof = reg->proof == NULL ? "" : reg->proof;
    if (!is_text(reg->addr, 0, STORE_ADDR_BYTES_MAX) ||
        !is_text(reg->gossip, 0, STORE_ADDR_BYTES_MAX))
        return store__fail(r, TROUPE_EINVAL, "a node's address is at most %d bytes of UTF-8",
                           STORE_ADDR_BYTES_MAX);
    if (!is_text(reg->proof, 0, STORE_PROOF_BYTES_MAX))
        return store__fail(r, TROUPE_EINVAL, "a node's proof is at most %d bytes of UTF-8",
                           STORE_PROOF_BYTES_MAX);
    return 0;
}

static int check_claim(struct store_request *r)
{
    const struct store_claim *claim = &r->u.claim;
    int rc = check_run(r, claim->name, claim->generation);
    if (rc != 0)
        return rc;
    if (claim->pids_n > STORE_PIDS_MAX)
        return store__fail(r, TROUPE_EINVAL, "a claim is for at most %d partitions",
                           STORE_PIDS_MAX);
    for (size_t i = 1; i < claim->pids_n; i++) {
        if (claim->pids[i] <= claim->pids[i - 1])
            return store__fail(r, TROUPE_EINVAL, "the partitions of a claim must ascend");
    }
    return 0;
}

static int check_key(struct store_request *r, const struct store_key *key)
{
    const char *why;
    if (name_check_kind(key->kind, &why) != 0 || name_check_id(key->id, &why) != 0)
        return store__fail(r, TROUPE_EINVAL, "%s", why);
    return 0;
}

static int check_recent(struct store_request *r)
{
    const struct store_recent *recent = &r->u.recent;
    if (recent->pids_n > STORE_RECENT_MAX || recent->rows_max == 0 ||
        recent->rows_max > STORE_RECENT_MAX)
        return store__fail(r, TROUPE_EINVAL, "at most %d partitions, and 1 to %d rows, at once",
                           STORE_RECENT_MAX, STORE_RECENT_MAX);
    if (recent->within_ms >> 42 != 0)
        return store__fail(r, TROUPE_EINVAL, "a time to look back is below 2^42 ms");
    for (size_t i = 1; i < recent->pids_n; i++) {
        if (recent->pids[i] <= recent->pids[i - 1])
            return store__fail(r, TROUPE_EINVAL, "the partitions must ascend");
    }
    if (recent->after.kind.len == 0)
        return 0;
    if (recent->pids_n == 0 || recent->after.pid != recent->pids[0])
        return store__fail(r, TROUPE_EINVAL, "the row to go on behind is in the first partition");
    return check_key(r, &recent->after);
}

static int check_load(struct store_request *r)
{
    const struct store_load *load = &r->u.load;
    if (load->keys_n > STORE_KEYS_MAX)
        return store__fail(r, TROUPE_EINVAL, "a load is for at most %d keys", STORE_KEYS_MAX);
    for (size_t i = 0; i < load->keys_n; i++) {
        int rc = check_key(r, &load->keys[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int compare_bytes(struct troupe_bytes a, struct troupe_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_rows(const void *left, const void *right)
{
    const struct store_key *a = &((const struct store_row *)left)->key;
    const struct store_key *b = &((const struct store_row *)right)->key;
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    int order = compare_bytes(a->kind, b->kind);
    return order != 0 ? order : compare_bytes(a->id, b->id);
}

static int check_row(struct store_request *r, const struct store_row *row)
{
    int rc = check_key(r, &row->key);
    if (rc != 0)
        return rc;
    if (row->epoch > INT64_MAX || row->version > INT64_MAX)
        return store__fail(r, TROUPE_EINVAL, "epochs and versions are below 2^63");
    if (row->deleted && row->state.len != 0)
        return store__fail(r, TROUPE_EINVAL, "a deleted row has no state");
    if (row->state.len > STORE_STATE_BYTES_MAX || row->dedup.len > STORE_STATE_BYTES_MAX)
        return store__fail(r, TROUPE_EREJECTED,
                           "a state of %zu bytes is over the limit of %d; keep less in one entity",
                           row->state.len > row->dedup.len ? row->state.len : row->dedup.len,
                           STORE_STATE_BYTES_MAX);
    return 0;
}

static int check_save(struct store_request *r)
{
    struct store_save *save = &r->u.save;
    int rc = check_run(r, save->name, save->generation);
    if (rc != 0)
        return rc;
    if (save->rows_n > STORE_ROWS_MAX)
        return store__fail(r, TROUPE_EINVAL, "a save is for at most %d rows", STORE_ROWS_MAX);
    for (size_t i = 0; i < save->rows_n; i++) {
        rc = check_row(r, &save->rows[i]);
        if (rc != 0)
            return rc;
    }
    if (save->rows_n > 1)
        qsort(save->rows, save->rows_n, sizeof *save->rows, compare_rows);
    for (size_t i = 1; i < save->rows_n; i++) {
        const struct store_row *a = &save->rows[i - 1], *b = &save->rows[i];
        if (compare_rows(a, b) == 0)
            return store__fail(r, TROUPE_EINVAL, "two rows of one save are for the same entity");
        if (a->key.pid == b->key.pid && a->epoch != b->epoch)
            return store__fail(r, TROUPE_EINVAL, "two rows of one partition bear different epochs");
    }
    return 0;
}

static int check_evict(struct store_request *r)
{
    const struct store_evict *evict = &r->u.evict;
    int rc = check_run(r, evict->name, evict->generation);
    if (rc == 0)
        rc = check_run(r, evict->target, evict->target_generation);
    if (rc != 0)
        return rc;
    if (evict->why > STORE_EVICT_ORDERED)
        return store__fail(r, TROUPE_EINVAL, "there is no reason number %d", (int)evict->why);
    if (evict->target_renew_seq > INT64_MAX)
        return store__fail(r, TROUPE_EINVAL, "a renew_seq is below 2^63");
    if (is_same_run(evict->name, evict->generation, evict->target, evict->target_generation))
        return store__fail(r, TROUPE_EINVAL, "a run does not evict itself; let it leave");
    return 0;
}

static int check_transfer(struct store_request *r)
{
    const struct store_transfer *t = &r->u.transfer;
    int rc = check_run(r, t->name, t->generation);
    if (rc == 0)
        rc = check_run(r, t->to, t->to_generation);
    if (rc != 0)
        return rc;
    if (is_same_run(t->name, t->generation, t->to, t->to_generation))
        return store__fail(r, TROUPE_EINVAL, "a transfer is to another run");
    if (t->cause != STORE_CAUSE_JOIN && t->cause != STORE_CAUSE_DRAIN)
        return store__fail(r, TROUPE_EINVAL, "the cause of a transfer is to join or to drain");
    if (t->moves_n > STORE_PIDS_MAX)
        return store__fail(r, TROUPE_EINVAL, "a transfer is of at most %d partitions",
                           STORE_PIDS_MAX);
    for (size_t i = 0; i < t->moves_n; i++) {
        if (i > 0 && t->moves[i].pid <= t->moves[i - 1].pid)
            return store__fail(r, TROUPE_EINVAL, "the partitions of a transfer must ascend");
        if (t->moves[i].epoch > INT64_MAX)
            return store__fail(r, TROUPE_EINVAL, "epochs and versions are below 2^63");
    }
    return 0;
}

static int check_kinds(struct store_request *r, const char *kinds)
{
    if (kinds == NULL || is_text(kinds, 0, STORE_KINDS_BYTES_MAX))
        return 0;
    return store__fail(r, TROUPE_EINVAL, "a list of kinds is at most %d bytes of UTF-8",
                       STORE_KINDS_BYTES_MAX);
}

static int check_renew(struct store_request *r)
{
    int rc = check_run(r, r->u.renew.name, r->u.renew.generation);
    return rc != 0 ? rc : check_kinds(r, r->u.renew.kinds);
}

static int check_open_kinds(struct store_request *r)
{
    const struct store_kinds *k = &r->u.kinds;
    int rc = check_run(r, k->name, k->generation);
    if (rc == 0 && (k->was == NULL || k->is == NULL))
        rc = store__fail(r, TROUPE_EINVAL, "the kinds before and after must be given");
    if (rc == 0)
        rc = check_kinds(r, k->was);
    return rc != 0 ? rc : check_kinds(r, k->is);
}

int store__check_request(struct store_request *r)
{
    if (r->arena == NULL && r->op != STORE_LEAVE)
        return store__fail(r, TROUPE_EINVAL, "the request has no arena");
    switch (r->op) {
    case STORE_REGISTER:
        return check_register(r);
    case STORE_RENEW:
        return check_renew(r);
    case STORE_LEAVE:
        return check_run(r, r->u.leave.name, r->u.leave.generation);
    case STORE_CLAIM:
        return check_claim(r);
    case STORE_LOAD:
        return check_load(r);
    case STORE_SAVE:
        return check_save(r);
    case STORE_OWNERS:
    case STORE_HISTORY:
        return 0;
    case STORE_EVICT:
        return check_evict(r);
    case STORE_TRANSFER:
        return check_transfer(r);
    case STORE_RECENT:
        return check_recent(r);
    case STORE_KINDS:
        return check_open_kinds(r);
    case STORE_DRAIN:
        return check_run(r, r->u.drain.name, r->u.drain.generation);
    }
    return store__fail(r, TROUPE_EINVAL, "there is no operation number %d", (int)r->op);
}
