# The command and the client library against real nodes.
troupe_test(test_cli_node LABELS integration TIMEOUT 180
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli.c LIBS test_node_proc)
target_compile_definitions(test_cli_node PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_cli_node troupe_cli)

# The command against clusters of fake nodes, which can be in any state.
troupe_test(test_cli_cluster LABELS integration TIMEOUT 120
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli_cluster.c ${CMAKE_SOURCE_DIR}/tests/unit/fake_node.c
    ${CMAKE_SOURCE_DIR}/tests/unit/cli_fixture.c
  LIBS test_proc troupe_proto Threads::Threads)
target_compile_definitions(test_cli_cluster PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_cli_cluster troupe_cli)
