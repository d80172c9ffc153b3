set(cluster_dir ${CMAKE_CURRENT_LIST_DIR}/cluster)
add_library(cluster_sim STATIC
  ${cluster_dir}/agenda.c ${cluster_dir}/clients.c ${cluster_dir}/disk.c ${cluster_dir}/faults.c
  ${cluster_dir}/history.c ${cluster_dir}/judge.c ${cluster_dir}/kinds.c ${cluster_dir}/ledger.c
  ${cluster_dir}/mutant_store.c ${cluster_dir}/mutants.c ${cluster_dir}/nodes.c
  ${cluster_dir}/ports.c ${cluster_dir}/story.c ${cluster_dir}/world.c)
target_link_libraries(cluster_sim PUBLIC gigbook_kinds troupe_runtime troupe_storage)

add_executable(troupe-sim ${cluster_dir}/main.c)
target_link_libraries(troupe-sim PRIVATE cluster_sim)
