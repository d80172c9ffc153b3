set(process_dir ${CMAKE_CURRENT_LIST_DIR})
foreach(name test_node test_kill)
  troupe_test(${name} LABELS integration TIMEOUT 300
    SOURCES ${process_dir}/${name}.c ${process_dir}/node_fixture.c ${process_dir}/pg_fixture.c
      ${process_dir}/proc.c
    LIBS troupe_client troupe_base PkgConfig::PQ Threads::Threads)
  target_compile_definitions(${name} PRIVATE TROUPE_NODE_BIN="$<TARGET_FILE:troupe-node>"
    TROUPE_GIGBOOK="$<TARGET_FILE:gigbook>")
  add_dependencies(${name} troupe-node gigbook)
endforeach()
