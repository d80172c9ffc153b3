foreach(test test_owner_map test_owner_map_random)
  troupe_test(${test} LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LIBS troupe_cluster)
endforeach()
