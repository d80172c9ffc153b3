troupe_test(test_lost_troop LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_lost_troop.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_lost LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_lost.c ${CMAKE_CURRENT_LIST_DIR}/runtime_world.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_late LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_late.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
