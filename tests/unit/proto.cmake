troupe_test(test_rpc LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_rpc.c ${CMAKE_CURRENT_LIST_DIR}/rpc_oracle.c
  LIBS troupe_proto)
add_subdirectory(${CMAKE_CURRENT_LIST_DIR}/sample ${CMAKE_CURRENT_BINARY_DIR}/sample)
troupe_test(test_json LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_json.c
  LIBS troupe_proto troupe_test_sample m)
