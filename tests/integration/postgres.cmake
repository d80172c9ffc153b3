set(integration_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_store_postgres LABELS integration TIMEOUT 300
  SOURCES ${integration_dir}/test_store_postgres.c ${integration_dir}/pg_fixture.c ${integration_dir}/proc.c
  LIBS store_contract PkgConfig::PQ)
