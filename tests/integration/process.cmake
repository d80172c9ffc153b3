set(process_dir ${CMAKE_CURRENT_LIST_DIR})
foreach(name test_node test_kill)
  troupe_test(${name} LABELS integration TIMEOUT 300
    SOURCES ${process_dir}/${name}.c ${process_dir}/node_fixture.c
    LIBS test_pg troupe_client troupe_base Threads::Threads)
  target_compile_definitions(${name} PRIVATE TROUPE_NODE_BIN="$<TARGET_FILE:troupe-node>"
    TROUPE_GIGBOOK="$<TARGET_FILE:gigbook>")
  add_dependencies(${name} troupe-node gigbook)
endforeach()
find_program(TROUPE_PYTHON3 python3 REQUIRED)
add_test(NAME all_places
  COMMAND ${TROUPE_PYTHON3} ${process_dir}/all_places.py $<TARGET_FILE:troupe-node> $<TARGET_FILE:gigbook>
    $<TARGET_FILE:troupe_cli> ${CMAKE_SOURCE_DIR}/apps/gigbook/data/places-to-calls ${CMAKE_SOURCE_DIR}/tests/data/places.tsv.gz)
set_tests_properties(all_places PROPERTIES LABELS integration TIMEOUT 300)
# What others build against an installed Troupe. They need the sanitizers' runtime if it was built with them.
set(installed_options)
if(TROUPE_SANITIZE)
  set(installed_options -fsanitize=${TROUPE_SANITIZE})
endif()
add_test(NAME installed
  COMMAND ${TROUPE_PYTHON3} ${process_dir}/installed.py ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}
    $<TARGET_PROPERTY:counter_kind,BINARY_DIR>/gen ${installed_options})
set_tests_properties(installed PROPERTIES LABELS integration TIMEOUT 120)
