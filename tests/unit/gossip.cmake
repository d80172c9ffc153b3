foreach(test test_gossip_link test_gossip_link_faults test_gossip_places)
  troupe_test(${test} LABELS unit
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c ${CMAKE_CURRENT_LIST_DIR}/gossip_link_fixture.c
    LIBS troupe_shell PkgConfig::UV nng::nng Threads::Threads)
endforeach()
troupe_test(test_scope LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_scope.c
  LIBS troupe_shell troupe_client PkgConfig::UV nng::nng Threads::Threads)
target_link_options(test_scope PRIVATE LINKER:--wrap=if_nametoindex)
