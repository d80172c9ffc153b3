# How the troupe command shows a cluster, and how it judges one.
troupe_test(test_cli_layout LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli_layout.c ${CMAKE_CURRENT_LIST_DIR}/cli_fixture.c
  LIBS troupe_cli_parts troupe_proto)
troupe_test(test_cli_judge LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli_judge.c ${CMAKE_CURRENT_LIST_DIR}/cli_fixture.c
  LIBS troupe_cli_parts troupe_proto)
troupe_test(test_cli_ops_layout LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli_ops_layout.c ${CMAKE_CURRENT_LIST_DIR}/cli_fixture.c
  LIBS troupe_cli_parts troupe_proto)
