set(sim_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_runtime_sim LABELS sim TIMEOUT 300
  SOURCES ${sim_dir}/test_runtime_sim.c ${sim_dir}/runtime_world.c ${sim_dir}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_runtime LABELS sim
  SOURCES ${sim_dir}/test_runtime.c ${sim_dir}/runtime_world.c ${sim_dir}/bag.c
  LIBS troupe_runtime troupe_storage)
troupe_test(test_intake LABELS sim
  SOURCES ${sim_dir}/test_intake.c ${sim_dir}/runtime_world.c ${sim_dir}/bag.c
  LIBS troupe_runtime troupe_storage)
