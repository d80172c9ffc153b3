# troupe_library(name SOURCES ... PUBLIC libs... PRIVATE libs...): one static library of one folder.
# Its own folder's parent tree root and include/ are the include paths, so that an include names the
# folder it crosses into: #include "storage/store.h".
function(troupe_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# troupe_protobuf(target file.proto...): adds the code that protoc-c generates to the target. Generated
# headers are found as "name.pb-c.h"; the generated code is exempt from our warnings.
function(troupe_protobuf target)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${dir})
  foreach(proto ${ARGN})
    get_filename_component(stem ${proto} NAME_WE)
    add_custom_command(OUTPUT ${dir}/${stem}.pb-c.c ${dir}/${stem}.pb-c.h
      COMMAND ${PROTOC_C} --c_out=${dir} -I${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} VERBATIM)
    set_source_files_properties(${dir}/${stem}.pb-c.c PROPERTIES COMPILE_OPTIONS "-w")
    target_sources(${target} PRIVATE ${dir}/${stem}.pb-c.c ${dir}/${stem}.pb-c.h)
  endforeach()
  target_include_directories(${target} SYSTEM PUBLIC ${dir})
  # The generated *__INIT macros cast const away, and clang blames the file that uses one.
  target_compile_options(${target} PUBLIC $<$<C_COMPILER_ID:Clang>:-Wno-cast-qual>)
endfunction()

# troupe_test(name LABELS l SOURCES ... LIBS ...): a cmocka program run by ctest.
function(troupe_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} PkgConfig::CMOCKA)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# troupe_fuzz(name SOURCES ... LIBS ...): a fuzz target, LLVMFuzzerTestOneInput. Always a test that replays
# its corpus, tests/fuzz/corpus/<name>; with TROUPE_FUZZ also a libFuzzer program for tools/fuzz.
function(troupe_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(fuzz_${name}_replay ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
  target_link_libraries(fuzz_${name}_replay PRIVATE ${ARG_LIBS})
  set_target_properties(fuzz_${name}_replay PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME fuzz_${name}_replay COMMAND fuzz_${name}_replay ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz_${name}_replay PROPERTIES LABELS fuzz TIMEOUT 120)
  if(TROUPE_FUZZ)
    add_executable(fuzz_${name} ${ARG_SOURCES})
    target_link_libraries(fuzz_${name} PRIVATE ${ARG_LIBS} -fsanitize=fuzzer)
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  endif()
endfunction()
