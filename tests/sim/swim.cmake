set(swim_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_swim LABELS sim SOURCES ${swim_dir}/test_swim.c ${swim_dir}/swim_world.c LIBS troupe_cluster)
