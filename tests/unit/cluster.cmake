troupe_test(test_ring LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_ring.c LIBS troupe_cluster)
