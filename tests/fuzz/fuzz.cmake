troupe_fuzz(name SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_name.c LIBS troupe_base)
troupe_fuzz(dedup SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_dedup.c LIBS troupe_runtime)
