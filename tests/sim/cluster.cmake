set(cluster_dir ${CMAKE_CURRENT_LIST_DIR}/cluster)
add_library(cluster_sim STATIC
  ${cluster_dir}/account.c ${cluster_dir}/accounts.c ${cluster_dir}/agenda.c ${cluster_dir}/batches.c ${cluster_dir}/clients.c ${cluster_dir}/deposed.c ${cluster_dir}/disk.c ${cluster_dir}/doubts.c ${cluster_dir}/failover.c ${cluster_dir}/scribes.c ${cluster_dir}/slate.c
  ${cluster_dir}/faults.c ${cluster_dir}/groups.c ${cluster_dir}/history.c ${cluster_dir}/judge.c ${cluster_dir}/kinds.c ${cluster_dir}/ledger.c
  ${cluster_dir}/mutant_product.c ${cluster_dir}/mutant_store.c ${cluster_dir}/mutant_wire.c ${cluster_dir}/mutants.c ${cluster_dir}/nodes.c
  ${cluster_dir}/peek.c ${cluster_dir}/poison.c ${cluster_dir}/ports.c ${cluster_dir}/story.c ${cluster_dir}/world.c)
target_link_libraries(cluster_sim PUBLIC gigbook_kinds troupe_runtime troupe_storage)
# Calls of these between files of the runtime go through mutant_product.c.
foreach(wrapped dedup_look dedup_write entity__crash entity__drop_partition entity__stop_soon evict__flush save__output)
  target_link_options(cluster_sim INTERFACE -Wl,--wrap=${wrapped})
endforeach()

add_executable(troupe-sim ${cluster_dir}/main.c)
target_link_libraries(troupe-sim PRIVATE troupe_os cluster_sim)

troupe_test(test_cluster_history LABELS sim
  SOURCES ${cluster_dir}/test_cluster_history.c
  LIBS cluster_sim)
troupe_test(test_cluster_sim LABELS "sim;soak" TIMEOUT 900
  SOURCES ${cluster_dir}/test_cluster_sim.c
  LIBS cluster_sim)
if(TROUPE_SANITIZE)
  target_compile_definitions(test_cluster_sim PRIVATE FEW_STORIES)
endif()

add_test(NAME cluster_sim_command COMMAND troupe-sim --seeds 1..3 --nodes 3)
set_tests_properties(cluster_sim_command PROPERTIES LABELS sim TIMEOUT 60
  PASS_REGULAR_EXPRESSION "3 stories, 0 failed.*trace [0-9a-f]+")
