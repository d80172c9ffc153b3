/* What protobuf-c makes of a gossip frame, held against our codec. */
#ifndef TROUPE_TESTS_GOSSIP_ORACLE_H
#define TROUPE_TESTS_GOSSIP_ORACLE_H

#include "proto/gossip.h"

/* Decodes the frame both ways: both must read the same out of it, and ours refuses what protobuf-c
 * refuses and what is outside the limits of gossip.h, and nothing else. What was read is then held
 * against gossip_oracle_encode. NULL, or what differs. */
const char *gossip_oracle(struct troupe_bytes bytes);

/* The frame with its records_n records is encoded to the bytes that protobuf-c packs, and these are
 * decoded to the same again. NULL, or what differs. */
const char *gossip_oracle_encode(const struct gossip_frame *frame,
                                 const struct gossip_record *records);

#endif
