# Request ids against a real node: with a kind that can be deleted, and a command whose clock is a day
# ahead.
set(ids_dir ${CMAKE_CURRENT_LIST_DIR})
add_library(slate MODULE ${ids_dir}/slate.c)
target_include_directories(slate PRIVATE ${CMAKE_SOURCE_DIR}/include)
set_target_properties(slate PROPERTIES PREFIX "" C_VISIBILITY_PRESET default
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_executable(troupe_tomorrow ${CMAKE_SOURCE_DIR}/tools/cli/main.c ${ids_dir}/tomorrow.c)
target_link_libraries(troupe_tomorrow PRIVATE troupe_os troupe_cli_parts)
target_compile_definitions(troupe_tomorrow PRIVATE TROUPE_VERSION="${PROJECT_VERSION}")
target_link_options(troupe_tomorrow PRIVATE -Wl,--wrap=clock_gettime)
set_target_properties(troupe_tomorrow PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
troupe_test(test_ids LABELS integration TIMEOUT 240
  SOURCES ${ids_dir}/test_ids.c LIBS test_node_proc)
target_compile_definitions(test_ids PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>"
  TEST_CLI_TOMORROW="$<TARGET_FILE:troupe_tomorrow>" TEST_SLATE="$<TARGET_FILE:slate>")
add_dependencies(test_ids troupe_cli troupe_tomorrow slate)
