troupe_test(test_gigbook_sim LABELS sim TIMEOUT 300
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_gigbook_sim.c ${CMAKE_CURRENT_LIST_DIR}/runtime_world.c
  LIBS gigbook_kinds troupe_runtime troupe_storage)
