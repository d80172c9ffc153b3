# The command and the client library against real nodes.
troupe_test(test_cli_node LABELS integration TIMEOUT 180
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli.c LIBS test_node_proc)
target_compile_definitions(test_cli_node PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_cli_node troupe_cli)
