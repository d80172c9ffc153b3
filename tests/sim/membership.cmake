set(membership_dir ${CMAKE_CURRENT_LIST_DIR}/membership)
add_library(membership_sim STATIC
  ${membership_dir}/crash.c ${membership_dir}/cuts.c ${membership_dir}/experiments.c
  ${membership_dir}/figures.c ${membership_dir}/load.c ${membership_dir}/network.c
  ${membership_dir}/observe.c ${membership_dir}/queue.c ${membership_dir}/restarts.c
  ${membership_dir}/runner.c ${membership_dir}/samples.c ${membership_dir}/sim.c
  ${membership_dir}/stalls.c ${membership_dir}/step.c ${membership_dir}/table.c)
target_link_libraries(membership_sim PUBLIC troupe_cluster m)

add_executable(troupe-membership-sim ${membership_dir}/main.c ${membership_dir}/no_mutants.c)
target_link_libraries(troupe-membership-sim PRIVATE troupe_os membership_sim)

# Copies of membership in which single rules can be switched off. They are objects, so that the
# linker takes them instead of the library's.
file(GLOB membership_real CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cluster/swim*.c)
set(membership_mutants ${CMAKE_CURRENT_BINARY_DIR}/membership_mutants)
set(membership_mutated ${membership_mutants}/mutants.c)
foreach(file IN LISTS membership_real)
  get_filename_component(name ${file} NAME)
  list(APPEND membership_mutated ${membership_mutants}/mutant_${name})
endforeach()
add_custom_command(OUTPUT ${membership_mutated}
  COMMAND python3 ${membership_dir}/mutate.py ${membership_dir}/mutants.txt ${membership_mutants}
          ${membership_real}
  DEPENDS ${membership_dir}/mutate.py ${membership_dir}/mutants.txt ${membership_real} VERBATIM)
add_library(membership_mutants OBJECT ${membership_mutated})
target_link_libraries(membership_mutants PUBLIC troupe_cluster m)

# The same commands and rules, with them.
add_executable(troupe-membership-mutants ${membership_dir}/main.c)
target_link_libraries(troupe-membership-mutants PRIVATE troupe_os membership_mutants membership_sim)
set(membership_rules ${membership_dir}/test_membership_rules.c ${membership_dir}/lone.c
  ${membership_dir}/rules_evidence.c ${membership_dir}/rules_identity.c
  ${membership_dir}/rules_spreading.c ${membership_dir}/rules_suspicion.c)
troupe_test(test_membership_rules LABELS sim
  SOURCES ${membership_rules} ${membership_dir}/no_mutants.c
  LIBS membership_sim)
troupe_test(test_membership_mutants LABELS sim TIMEOUT 300
  SOURCES ${membership_rules}
  LIBS membership_mutants membership_sim)

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
