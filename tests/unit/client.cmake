troupe_test(test_client_parts LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_parts.c LIBS troupe_client)
troupe_test(test_client LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
troupe_test(test_client_faults LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_faults.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
# Counts the allocations of the client's own code: a steady load must make none.
target_link_options(test_client PRIVATE
  -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
troupe_test(test_cli LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_cli_parts troupe_proto Threads::Threads)
