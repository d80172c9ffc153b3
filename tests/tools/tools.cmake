# The checkers check themselves: each must catch what it exists to catch.
foreach(tool test-report check-purity)
  add_test(NAME tools_${tool} COMMAND ${CMAKE_SOURCE_DIR}/tools/${tool} --self-test)
  set_tests_properties(tools_${tool} PROPERTIES LABELS unit TIMEOUT 60)
endforeach()
