troupe_fuzz(name SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_name.c LIBS troupe_base)
troupe_fuzz(dedup SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_dedup.c LIBS troupe_runtime)
troupe_fuzz(rpc_request SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_rpc_request.c LIBS troupe_proto)
troupe_fuzz(rpc_reply SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_rpc_reply.c LIBS troupe_proto)
