troupe_test(test_client_parts LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_parts.c LIBS troupe_client)
troupe_test(test_client LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
troupe_test(test_client_faults LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_faults.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
troupe_test(test_client_ring LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_ring.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
    ${CMAKE_CURRENT_LIST_DIR}/fake_troop.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
troupe_test(test_client_routes LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_routes.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
    ${CMAKE_CURRENT_LIST_DIR}/fake_troop.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
# Counts the allocations of the client's own code: a steady load must make none.
foreach(name test_client test_client_ring)
  target_link_options(${name} PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endforeach()
troupe_test(test_cli LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_cli.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_cli_parts troupe_proto Threads::Threads)
troupe_test(test_client_ids LABELS unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_client_ids.c ${CMAKE_CURRENT_LIST_DIR}/fake_node.c
  LIBS troupe_client troupe_proto nng::nng Threads::Threads)
target_link_options(test_client_ids PRIVATE -Wl,--wrap=clock_gettime)
