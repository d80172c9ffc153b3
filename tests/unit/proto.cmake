troupe_test(test_rpc LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_rpc.c ${CMAKE_CURRENT_LIST_DIR}/rpc_oracle.c
  LIBS troupe_proto)
