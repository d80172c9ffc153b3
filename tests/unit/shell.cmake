set(shell_tests ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_listener LABELS unit
  SOURCES ${shell_tests}/test_listener.c ${shell_tests}/shell_fixture.c
  LIBS troupe_shell PkgConfig::UV nng::nng Threads::Threads)
