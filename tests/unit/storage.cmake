# store_contract: the suite that every store passes; each store's test links it and brings a fixture.
set(storage_dir ${CMAKE_CURRENT_LIST_DIR})
troupe_library(store_contract
  SOURCES
    ${storage_dir}/store_contract.c ${storage_dir}/store_contract_lease.c
    ${storage_dir}/store_contract_claim.c ${storage_dir}/store_contract_rows.c
    ${storage_dir}/store_contract_errors.c ${storage_dir}/store_contract_race.c
    ${storage_dir}/store_contract_oracle.c ${storage_dir}/store_contract_evict.c
    ${storage_dir}/store_contract_transfer.c ${storage_dir}/store_contract_history.c
    ${storage_dir}/store_contract_recent.c ${storage_dir}/store_contract_drain.c
    ${storage_dir}/store_contract_kinds.c ${storage_dir}/store_contract_joins.c
  PUBLIC troupe_storage PkgConfig::UV PkgConfig::CMOCKA)
troupe_test(test_store_memory LABELS unit SOURCES ${storage_dir}/test_store_memory.c
  LIBS store_contract)
foreach(name test_store_sqlite test_store_sqlite_file test_store_sqlite_processes
    test_store_sqlite_names test_store_sqlite_runs)
  troupe_test(${name} LABELS unit TIMEOUT 300
    SOURCES ${storage_dir}/${name}.c ${storage_dir}/sqlite_fixture.c
    LIBS store_contract PkgConfig::SQLITE)
endforeach()
foreach(name test_store_sqlite_faults test_store_sqlite_log test_store_sqlite_note)
  troupe_test(${name} LABELS unit TIMEOUT 300
    SOURCES ${storage_dir}/${name}.c ${storage_dir}/sqlite_faults.c ${storage_dir}/sqlite_fixture.c
    LIBS store_contract PkgConfig::SQLITE)
endforeach()
troupe_test(test_verdict LABELS unit SOURCES ${storage_dir}/test_verdict.c
  LIBS troupe_storage_postgres PkgConfig::CMOCKA)
