troupe_fuzz(name SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_name.c LIBS troupe_base)
troupe_fuzz(dedup SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_dedup.c LIBS troupe_runtime)
set(rpc_oracle ${CMAKE_SOURCE_DIR}/tests/unit/rpc_oracle.c)
troupe_fuzz(rpc_request SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_rpc_request.c ${rpc_oracle} LIBS troupe_proto)
troupe_fuzz(rpc_reply SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_rpc_reply.c ${rpc_oracle} LIBS troupe_proto)
troupe_fuzz(gossip
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_gossip.c ${CMAKE_SOURCE_DIR}/tests/unit/gossip_oracle.c
  LIBS troupe_proto)
troupe_fuzz(json_to_message SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_json_to_message.c
  LIBS troupe_proto troupe_test_sample)
troupe_fuzz(json_from_message SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_json_from_message.c
  LIBS troupe_proto troupe_test_sample)
troupe_fuzz(owner_map SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_owner_map.c LIBS troupe_cluster)
