set(integration_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_test(test_store_postgres LABELS integration TIMEOUT 600
  SOURCES ${integration_dir}/test_store_postgres.c LIBS test_pg store_contract)
troupe_test(test_store_postgres_doubt LABELS integration TIMEOUT 300
  SOURCES ${integration_dir}/test_store_postgres_doubt.c ${integration_dir}/pooler_fixture.c
  LIBS test_pg store_contract)
troupe_test(test_store_server LABELS integration TIMEOUT 300
  SOURCES ${integration_dir}/test_store_server.c LIBS test_pg store_contract)
troupe_test(test_store_redial LABELS integration TIMEOUT 300
  SOURCES ${integration_dir}/test_store_redial.c ${integration_dir}/tcp_switch.c
  LIBS test_pg store_contract)
