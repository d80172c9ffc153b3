# Operators' commands against clusters of real nodes. After cluster.cmake, for its fixture.
troupe_test(test_cli_ops LABELS integration TIMEOUT 240
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli_ops.c LIBS test_cluster_fixture)
target_compile_definitions(test_cli_ops PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_cli_ops troupe_cli)
