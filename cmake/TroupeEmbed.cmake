# troupe_embed_migrations(target symbol dir): compiles the numbered .sql files of dir (0001_name.sql,
# 0002_name.sql, … without a gap) into the target, as the table that storage/migration.h describes:
#     const struct store_migration <symbol>[];
#     const size_t <symbol>_n;
# Adding a file re-runs CMake, changing one rebuilds the table.
function(troupe_embed_migrations target symbol dir)
  file(GLOB files CONFIGURE_DEPENDS ${dir}/*.sql)
  list(SORT files)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DSYMBOL=${symbol} -DOUT=${out} "-DFILES=${files}"
            -P ${CMAKE_SOURCE_DIR}/cmake/EmbedMigrations.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/EmbedMigrations.cmake VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
