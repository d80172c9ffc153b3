set(shell_tests ${CMAKE_CURRENT_LIST_DIR})
foreach(test test_listener test_listener_limits test_listener_places test_places
    test_core)
  troupe_test(${test} LABELS unit
    SOURCES ${shell_tests}/${test}.c ${shell_tests}/shell_fixture.c
    LIBS troupe_shell PkgConfig::UV nng::nng Threads::Threads)
endforeach()
troupe_test(test_ties LABELS unit
  SOURCES ${shell_tests}/test_ties.c ${shell_tests}/gossip_link_fixture.c
  LIBS troupe_shell PkgConfig::UV nng::nng Threads::Threads)
foreach(test test_discover test_config test_log test_proof)
  troupe_test(${test} LABELS unit SOURCES ${shell_tests}/${test}.c
    LIBS troupe_shell PkgConfig::UV Threads::Threads)
endforeach()
troupe_test(test_stream_end LABELS unit
  SOURCES ${shell_tests}/test_stream_end.c ${shell_tests}/shell_fixture.c
  LIBS troupe_shell PkgConfig::UV nng::nng Threads::Threads)
foreach(wrapped nng_stream_recv nng_stream_send nng_stream_free nng_aio_free)
  target_link_options(test_stream_end PRIVATE -Wl,--wrap=${wrapped})
endforeach()
add_library(old_plugin MODULE ${CMAKE_CURRENT_LIST_DIR}/old_plugin.c)
target_include_directories(old_plugin PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(old_plugin PRIVATE -fno-sanitize=all)
target_link_options(old_plugin PRIVATE -fno-sanitize=all)
troupe_test(test_kinds_load LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_kinds_load.c
  LIBS troupe_shell PkgConfig::UV Threads::Threads)
add_dependencies(test_kinds_load old_plugin)
target_compile_definitions(test_kinds_load PRIVATE OLD_PLUGIN="$<TARGET_FILE:old_plugin>")
