# Clusters of real processes. Those that measure time run by themselves.
set(cluster_dir ${CMAKE_CURRENT_LIST_DIR})
add_library(test_cluster_fixture STATIC ${cluster_dir}/cluster_fixture.c ${cluster_dir}/cluster_load.c)
target_link_libraries(test_cluster_fixture PUBLIC test_pg troupe_client troupe_proto troupe_base
  Threads::Threads)
target_compile_definitions(test_cluster_fixture PRIVATE TROUPE_NODE_BIN="$<TARGET_FILE:troupe-node>"
  TROUPE_COUNTER="$<TARGET_FILE:counter>")
add_dependencies(test_cluster_fixture troupe-node counter)
foreach(name test_cluster test_cluster_crash test_cluster_net test_cluster_outage)
  troupe_test(${name} LABELS integration TIMEOUT 300
    SOURCES ${cluster_dir}/${name}.c LIBS test_cluster_fixture)
  set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
endforeach()
troupe_test(test_cluster_ring LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_ring.c LIBS test_cluster_fixture)
troupe_test(test_cluster_failover LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_failover.c ${cluster_dir}/tcp_switch.c LIBS test_cluster_fixture)
troupe_test(test_cluster_gone LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_gone.c LIBS test_cluster_fixture PkgConfig::SQLITE)
target_compile_definitions(test_cluster_gone PRIVATE TEST_CLI="$<TARGET_FILE:troupe_cli>")
add_dependencies(test_cluster_gone troupe_cli)
# Waits for a minute most of the time.
troupe_test(test_cluster_strangers LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_strangers.c LIBS test_cluster_fixture)
troupe_test(test_cluster_pooler LABELS integration TIMEOUT 300
  SOURCES ${cluster_dir}/test_cluster_pooler.c ${cluster_dir}/pooler_fixture.c ${cluster_dir}/wire_fixture.c
  LIBS test_cluster_fixture)
foreach(version 1 2)
  add_library(note_${version} MODULE ${cluster_dir}/note_plugin.c ${cluster_dir}/../sim/note.c)
  target_include_directories(note_${version} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
  target_compile_definitions(note_${version} PRIVATE NOTE_KIND=note_kind_${version})
endforeach()
troupe_test(test_cluster_kinds LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_kinds.c LIBS test_cluster_fixture)
add_dependencies(test_cluster_kinds note_1 note_2)
target_compile_definitions(test_cluster_kinds PRIVATE NOTE_1="$<TARGET_FILE:note_1>" NOTE_2="$<TARGET_FILE:note_2>")
