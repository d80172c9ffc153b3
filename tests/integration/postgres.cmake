set(integration_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_store_postgres LABELS integration TIMEOUT 300
  SOURCES ${integration_dir}/test_store_postgres.c LIBS test_pg store_contract)
