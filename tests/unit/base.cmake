troupe_test(test_base LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_base.c LIBS troupe_base)
