/* Every SQL text that is executed more than once; prepared once per connection. */
#ifndef TROUPE_STORAGE_SQLITE_STATEMENTS_H
#define TROUPE_STORAGE_SQLITE_STATEMENTS_H

enum sqlite_statement {
    SQL_BEGIN_READ,
    SQL_BEGIN_WRITE,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_FIND_CLUSTER,
    SQL_ADD_CLUSTER,
    SQL_ADD_PARTITIONS,
    SQL_FIND_NODE,
    SQL_PUT_NODE,
    SQL_RENEW_NODE,
    SQL_OTHER_NODES,
    SQL_ALL_NODES,
    SQL_LEAVE_NODE,
    SQL_IS_ACTIVE,
    SQL_FIND_PARTITION,
    SQL_TAKE_PARTITION,
    SQL_ALL_PARTITIONS,
    SQL_FENCE,
    SQL_LOAD_ENTITY,
    SQL_SAVE_ENTITY,
    SQL_STATEMENTS_N,
};

extern const char *const sqlite__statements[SQL_STATEMENTS_N];

/* The columns of FIND_NODE, OTHER_NODES and ALL_NODES. */
enum {
    NODE_NAME,
    NODE_GENERATION,
    NODE_INCARNATION,
    NODE_ADDR,
    NODE_PROOF,
    NODE_RENEW_SEQ,
    NODE_TTL_MS,
    NODE_STATE,
    NODE_RENEWED_AT,
};

#endif
