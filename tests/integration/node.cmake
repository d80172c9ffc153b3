# Real processes: proc starts and watches them, node_proc starts nodes and calls them.
add_library(test_proc STATIC ${CMAKE_CURRENT_LIST_DIR}/proc.c)
target_include_directories(test_proc PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(test_proc PUBLIC troupe_children PkgConfig::CMOCKA)

add_library(test_pg STATIC ${CMAKE_CURRENT_LIST_DIR}/pg_fixture.c)
target_link_libraries(test_pg PUBLIC test_proc PkgConfig::PQ)

add_library(test_node_proc STATIC ${CMAKE_CURRENT_LIST_DIR}/node_proc.c)
target_link_libraries(test_node_proc PUBLIC test_proc troupe_proto nng::nng)
target_compile_definitions(test_node_proc PRIVATE
  TEST_NODE_PROGRAM="$<TARGET_FILE:troupe-node>"
  TEST_GIGBOOK="$<TARGET_FILE:gigbook>"
  TEST_COUNTER="$<TARGET_FILE:counter>")
add_dependencies(test_node_proc troupe-node gigbook counter)

foreach(name life hardship)
  troupe_test(test_node_${name} LABELS integration
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_node_${name}.c LIBS test_node_proc PkgConfig::SQLITE)
endforeach()

# The fixtures themselves: they start on any machine, or say why not.
troupe_test(test_fixtures LABELS integration
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_fixtures.c LIBS test_pg)

# Programs without standard input, output or error.
troupe_test(test_closed LABELS integration
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_closed.c LIBS test_node_proc)
target_compile_definitions(test_closed PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_closed troupe_cli)
