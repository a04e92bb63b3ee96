# The two ways in which a room enters the build. A room's link line IS its permission to know another room.

# mailherd_library(<name> SOURCES ... LINK [PUBLIC ...] [PRIVATE ...]): the static library mailherd_<name>, alias mailherd::<name>.
function(mailherd_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  string(REPLACE "/" "_" target "mailherd_${name}")
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(mailherd::${name} ALIAS ${target})
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE mailherd_warnings)
  if(arg_LINK)
    target_link_libraries(${target} ${arg_LINK})
  endif()
endfunction()

# mailherd_test(<name> SOURCES ... LINK ... [LABELS ...] [TIMEOUT s] [ARGS ...]): one GoogleTest binary, one ctest entry.
function(mailherd_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;LABELS;ARGS" ${ARGN})
  string(REPLACE "." "_" target "test_${name}")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE mailherd_warnings ${arg_LINK} GTest::gmock GTest::gtest_main)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE MAILHERD_SOURCE_DIR="${PROJECT_SOURCE_DIR}" MAILHERD_BINARY_DIR="${PROJECT_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${target} ${arg_ARGS})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
endfunction()
