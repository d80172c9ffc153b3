# Kinds are tested on a node of one entity, fake_ctx.
add_library(fake_ctx STATIC ${CMAKE_CURRENT_LIST_DIR}/fake_ctx.c)
target_include_directories(fake_ctx PUBLIC ${CMAKE_SOURCE_DIR}/include)
target_link_libraries(fake_ctx PUBLIC PkgConfig::PROTOBUF_C)

foreach(name gigbook venue user)
  troupe_test(test_${name} LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c
    LIBS gigbook_kinds fake_ctx)
endforeach()
troupe_test(test_counter LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_counter.c
  LIBS counter_kind fake_ctx)

# Every allocation may fail.
troupe_test(test_gigbook_faults LABELS unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_gigbook_faults.c
  LIBS gigbook_kinds fake_ctx)
target_link_options(test_gigbook_faults PRIVATE
  LINKER:--wrap=malloc LINKER:--wrap=calloc LINKER:--wrap=realloc LINKER:--wrap=strdup)

# docs/kinds.md is true: its files are the example's, its commands work.
find_program(TROUPE_PYTHON3 python3 REQUIRED)
add_test(NAME kinds_doc
  COMMAND ${TROUPE_PYTHON3} ${CMAKE_CURRENT_LIST_DIR}/kinds_doc.py ${CMAKE_SOURCE_DIR})
set_tests_properties(kinds_doc PROPERTIES LABELS unit TIMEOUT 120)
