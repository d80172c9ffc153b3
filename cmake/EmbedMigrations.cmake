# Build step of troupe_embed_migrations: FILES (sorted paths), SYMBOL, OUT.
set(rows "")
set(number 0)
foreach(file IN LISTS FILES)
  math(EXPR number "${number} + 1")
  get_filename_component(name "${file}" NAME_WE)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+$")
    message(FATAL_ERROR "${file}: a migration is named NNNN_what_it_does.sql")
  endif()
  string(REGEX REPLACE "^0+" "" numbered "${CMAKE_MATCH_1}")
  if(NOT numbered EQUAL number)
    message(FATAL_ERROR "${file}: expected number ${number}; migrations have no gaps and no doubles")
  endif()
  file(READ "${file}" sql)
  string(REPLACE "\\" "\\\\" sql "${sql}")
  string(REPLACE "\"" "\\\"" sql "${sql}")
  string(REPLACE "\n" "\\n\"\n     \"" sql "${sql}")
  string(APPEND rows "    {${number}, \"${name}\",\n     \"${sql}\"},\n")
endforeach()
if(number EQUAL 0)
  message(FATAL_ERROR "${SYMBOL}: no migrations found")
endif()
file(WRITE "${OUT}" "/* Generated from the .sql files. */
#include \"storage/migration.h\"

extern const struct store_migration ${SYMBOL}[];
extern const size_t ${SYMBOL}_n;

const struct store_migration ${SYMBOL}[] = {
${rows}};
const size_t ${SYMBOL}_n = ${number};
")
