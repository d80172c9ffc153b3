foreach(test test_gossip test_gossip_random)
  troupe_test(${test} LABELS unit
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c ${CMAKE_CURRENT_LIST_DIR}/gossip_oracle.c
    LIBS troupe_proto)
endforeach()
