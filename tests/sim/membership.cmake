set(membership_dir ${CMAKE_CURRENT_LIST_DIR}/membership)
add_library(membership_sim STATIC
  ${membership_dir}/crash.c ${membership_dir}/cuts.c ${membership_dir}/experiments.c
  ${membership_dir}/figures.c ${membership_dir}/load.c ${membership_dir}/network.c
  ${membership_dir}/observe.c ${membership_dir}/queue.c ${membership_dir}/restarts.c
  ${membership_dir}/runner.c ${membership_dir}/samples.c ${membership_dir}/sim.c
  ${membership_dir}/stalls.c ${membership_dir}/step.c ${membership_dir}/table.c)
target_link_libraries(membership_sim PUBLIC troupe_cluster m)

add_executable(troupe-membership-sim ${membership_dir}/main.c)
target_link_libraries(troupe-membership-sim PRIVATE membership_sim)
