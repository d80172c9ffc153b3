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
# Waits for a minute most of the time.
troupe_test(test_cluster_strangers LABELS integration TIMEOUT 240
  SOURCES ${cluster_dir}/test_cluster_strangers.c LIBS test_cluster_fixture)
troupe_test(test_cluster_pooler LABELS integration TIMEOUT 300
  SOURCES ${cluster_dir}/test_cluster_pooler.c ${cluster_dir}/pooler_fixture.c ${cluster_dir}/wire_fixture.c
  LIBS test_cluster_fixture)
