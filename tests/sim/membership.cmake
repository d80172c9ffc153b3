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

troupe_test(test_membership_sim LABELS sim TIMEOUT 300
  SOURCES ${membership_dir}/test_membership_sim.c
  LIBS membership_sim)
troupe_test(test_membership_checkers LABELS sim
  SOURCES ${membership_dir}/test_membership_checkers.c
  LIBS membership_sim)

add_test(NAME membership_sim_command
  COMMAND troupe-membership-sim --experiment crash --nodes 8 --seeds 1..3 --markdown)
set_tests_properties(membership_sim_command PROPERTIES LABELS sim TIMEOUT 60
  PASS_REGULAR_EXPRESSION "crash .*memberlist.*trace [0-9a-f]+")
