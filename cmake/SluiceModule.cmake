# Helpers that keep every module's CMakeLists.txt to a list of files and links.

add_library(sluice_warnings INTERFACE)
target_compile_options(sluice_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                                 -Wnon-virtual-dtor -Werror)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # Types of unnamed namespaces are seen in "an included file" there; that is how unity works.
  target_compile_options(sluice_warnings INTERFACE -Wno-subobject-linkage)
endif()

add_library(sluice_sanitize INTERFACE)
if(SLUICE_SANITIZE)
  # Not vptr: it probes memory through a pipe, and reports what is sound where a test has used up
  # the descriptors.
  target_compile_options(sluice_sanitize INTERFACE -fsanitize=${SLUICE_SANITIZE} -fno-sanitize=vptr
                                                   -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(sluice_sanitize INTERFACE -fsanitize=${SLUICE_SANITIZE})
  # Linked into every program: what its sanitizers do is not left to the environment.
  add_library(sluice_sanitizer_options OBJECT ${CMAKE_SOURCE_DIR}/test/support/sanitizer_options.cc)
  set(SLUICE_SANITIZER_OPTIONS sluice_sanitizer_options)
endif()

# sluice_module(NAME [SOURCES ...] [LINK ...] [LINK_PRIVATE ...])
# A static library sluice_NAME with its face in include/; header only when it has no sources.
function(sluice_module NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LINK_PRIVATE" ${ARGN})
  if(ARG_SOURCES)
    add_library(sluice_${NAME} STATIC ${ARG_SOURCES})
    target_include_directories(sluice_${NAME} PUBLIC include PRIVATE src)
    target_link_libraries(sluice_${NAME} PUBLIC ${ARG_LINK} sluice_sanitize
                          PRIVATE ${ARG_LINK_PRIVATE} sluice_warnings)
  else()
    add_library(sluice_${NAME} INTERFACE)
    target_include_directories(sluice_${NAME} INTERFACE include)
    target_link_libraries(sluice_${NAME} INTERFACE ${ARG_LINK} sluice_sanitize)
  endif()
endfunction()

# sluice_program(NAME SOURCES ... LINK ...): one thin main, placed in bin/.
function(sluice_program NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${ARG_LINK} ${SLUICE_SANITIZER_OPTIONS} sluice_warnings)
endfunction()

# sluice_test(NAME [WHOLE] SOURCES ... LINK ... [LABELS ...]): a GoogleTest program, discovered by
# ctest test by test. WHOLE: one run for all, where the fixture is expensive (an API server). Under
# the sanitizers all are run whole.
function(sluice_test NAME)
  cmake_parse_arguments(ARG "WHOLE" "" "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  target_include_directories(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/test/support)
  target_link_libraries(${NAME} PRIVATE ${ARG_LINK} ${SLUICE_SANITIZER_OPTIONS}
                                                GTest::gtest_main GTest::gmock sluice_warnings)
  target_compile_definitions(${NAME} PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             SLUICE_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  # Compile time is most of a test run, and tests need no speed of their own.
  target_compile_options(${NAME} PRIVATE -O0)
  # What the sanitizer runs build: the tests that need nothing but themselves.
  if("unit" IN_LIST ARG_LABELS)
    if(NOT TARGET unit_tests)
      add_custom_target(unit_tests)
    endif()
    add_dependencies(unit_tests ${NAME})
  endif()
  if(SLUICE_SANITIZE)
    # A sanitized program is slow to start, and what its tests share is made once this way.
    add_test(NAME ${NAME} COMMAND ${NAME} --gtest_brief=1)
    set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900)
  elseif(ARG_WHOLE)
    add_test(NAME ${NAME} COMMAND ${NAME})
    set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300)
  else()
    gtest_discover_tests(${NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300 DISCOVERY_TIMEOUT 60)
  endif()
endfunction()
