troupe_test(test_troop LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_troop.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_moves LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_moves.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_deposed LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_deposed.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_kinds LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_kinds.c ${CMAKE_CURRENT_LIST_DIR}/note.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_warm LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_warm.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_outages LABELS sim
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_outages.c ${CMAKE_CURRENT_LIST_DIR}/troop.c
    ${CMAKE_CURRENT_LIST_DIR}/bag.c
  LIBS troupe_runtime troupe_storage)
