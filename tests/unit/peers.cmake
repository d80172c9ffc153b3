set(peers_tests ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_peers LABELS unit
  SOURCES ${peers_tests}/test_peers.c ${peers_tests}/peers_fixture.c ${peers_tests}/fake_node.c
  LIBS troupe_shell troupe_client troupe_proto PkgConfig::UV nng::nng Threads::Threads)
troupe_test(test_peers_faults LABELS unit
  SOURCES ${peers_tests}/test_peers_faults.c ${peers_tests}/peers_fixture.c ${peers_tests}/fake_node.c
  LIBS troupe_shell troupe_client troupe_proto PkgConfig::UV nng::nng Threads::Threads)
