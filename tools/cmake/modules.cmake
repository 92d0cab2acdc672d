# -- flags every target shares: linked PRIVATE ------------------------------------------------------

add_library(millrace_flags INTERFACE)
target_compile_features(millrace_flags INTERFACE cxx_std_20)
target_compile_options(millrace_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Werror=return-type -fno-math-errno>)
target_include_directories(millrace_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_flags INTERFACE
    -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer
    -fno-sanitize=null) # CAF 0.17 binds a reference to *shared_ptr<tuple<>>() whenever it spawns (init_fun_factory.hpp:99)
  target_link_options(millrace_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE})
endif()

# The environment of every test. What the sanitizers may overlook is listed, with reasons, in tests/support/*.supp.
# Idle OpenMP threads sleep (tests share two cores), and UCX leaves crashes to the test runner and the sanitizers.
set(MILLRACE_TEST_ENVIRONMENT OMP_WAIT_POLICY=PASSIVE UCX_HANDLE_ERRORS=none)
if(MILLRACE_SANITIZE)
  set(supp ${PROJECT_SOURCE_DIR}/tests/support)
  list(APPEND MILLRACE_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1" "LSAN_OPTIONS=suppressions=${supp}/lsan.supp:print_suppressions=0"
    "TSAN_OPTIONS=suppressions=${supp}/tsan.supp:second_deadlock_stack=1:halt_on_error=1"
    "UBSAN_OPTIONS=print_stacktrace=1")
  if(MILLRACE_SANITIZE MATCHES thread)
    # UCX watches madvise, which a thread calls last of all, after the sanitizer has taken leave of it.
    list(APPEND MILLRACE_TEST_ENVIRONMENT UCX_MEM_EVENTS=no)
  endif()
endif()

# For what waits rather than computes (tests, actors, the command line): a quarter of its compile time less.
set(MILLRACE_LIGHT $<$<CONFIG:Release>:-O1>)

# -- precompiled headers: for what computes with LibTorch, and for what passes messages ------------
# GCC instantiates the templates that a header's inline functions use in every file anew, precompiled or not: an empty file
# takes half as long with LibTorch's operations alone as with its autograd beside them, which three files include by
# themselves, and actors only hand tensors on.

add_library(millrace_torch_pch STATIC ${PROJECT_SOURCE_DIR}/tools/cmake/pch.cpp)
target_link_libraries(millrace_torch_pch PRIVATE millrace_flags millrace::torch)
target_precompile_headers(millrace_torch_pch PRIVATE <ATen/ATen.h>)

add_library(millrace_actor_pch STATIC ${PROJECT_SOURCE_DIR}/tools/cmake/pch.cpp)
target_link_libraries(millrace_actor_pch PRIVATE millrace_flags millrace::torch millrace::caf nlohmann_json::nlohmann_json)
target_compile_options(millrace_actor_pch PRIVATE ${MILLRACE_LIGHT})
target_precompile_headers(millrace_actor_pch PRIVATE
  <ATen/core/Tensor.h> <caf/scoped_actor.hpp> <caf/typed_actor.hpp> <caf/typed_event_based_actor.hpp> <nlohmann/json.hpp>
  <algorithm> <filesystem> <functional> <map> <memory> <optional> <set> <sstream> <string> <thread> <vector>)

if(MILLRACE_TESTS)
  add_library(millrace_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/support/test_main.cpp)
  target_link_libraries(millrace_test_main PRIVATE millrace_flags)
  target_compile_options(millrace_test_main PUBLIC ${MILLRACE_LIGHT})
endif()

# millrace_add_module(name [TORCH | ACTORS] SOURCES a.cpp ... [CUDA a.cu ...] [DEPENDS target ...] [TESTS a_test.cpp ...])
#
# Makes millrace_<name> out of this folder and, from TESTS (paths from the root), the program test_<name>, which is
# one ctest. TORCH and ACTORS link LibTorch and reuse the one or the other precompiled header. Only what has CUDA sources
# sees the CUDA toolkit and MILLRACE_CUDA, so that a CUDA build compiles everything else as every build does. Every source
# needs its line: no GLOB.
function(millrace_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH;ACTORS" "" "SOURCES;CUDA;DEPENDS;TESTS")
  set(cuda_sources "")
  if(MILLRACE_CUDA)
    set(cuda_sources ${arg_CUDA})
  endif()
  add_library(millrace_${name} STATIC ${arg_SOURCES} ${cuda_sources})
  target_link_libraries(millrace_${name} PUBLIC ${arg_DEPENDS} PRIVATE millrace_flags)
  target_include_directories(millrace_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  set(precompiled "")
  if(arg_ACTORS)
    set(precompiled millrace_actor_pch)
  elseif(arg_TORCH)
    set(precompiled millrace_torch_pch)
  endif()
  if(precompiled)
    target_link_libraries(millrace_${name} PUBLIC millrace::torch)
    target_precompile_headers(millrace_${name} REUSE_FROM ${precompiled})
  endif()
  if(cuda_sources)
    target_compile_definitions(millrace_${name} PRIVATE MILLRACE_CUDA=1)
    target_link_libraries(millrace_${name} PRIVATE CUDA::cudart)
    # CMake 3.25 does not know nvcc 13's C++20: the flag goes in by hand.
    target_compile_options(millrace_${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
  endif()
  if(MILLRACE_TESTS AND arg_TESTS)
    list(TRANSFORM arg_TESTS PREPEND ${PROJECT_SOURCE_DIR}/)
    add_executable(test_${name} ${arg_TESTS})
    target_link_libraries(test_${name} PRIVATE millrace_${name} millrace_test_main millrace_flags)
    if(cuda_sources)
      target_compile_definitions(test_${name} PRIVATE MILLRACE_CUDA=1)
      target_link_libraries(test_${name} PRIVATE CUDA::cudart)
    endif()
    if(precompiled)
      target_precompile_headers(test_${name} REUSE_FROM ${precompiled})
    endif()
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS ${name} ENVIRONMENT "${MILLRACE_TEST_ENVIRONMENT}")
  endif()
endfunction()

# millrace_table_of(<type> <folder> <words> OUT declarations rows sources tests)
#
# For a table of rows, one a file: <folder>/<word>.cpp defines `const <type> <word>` and has tests/<folder>/<word>_test.cpp.
# Sets, in the caller: the C++ lines that declare the rows, those of an array of them, the sources, the tests.
function(millrace_table_of type folder words declarations rows sources tests)
  foreach(word IN LISTS words)
    if(NOT EXISTS ${PROJECT_SOURCE_DIR}/tests/${folder}/${word}_test.cpp)
      message(FATAL_ERROR "${folder}/${word}.cpp has no tests/${folder}/${word}_test.cpp")
    endif()
    string(APPEND d "extern const ${type} ${word};\n")
    string(APPEND r "    &${word},\n")
    list(APPEND s ${PROJECT_SOURCE_DIR}/${folder}/${word}.cpp)
    list(APPEND t tests/${folder}/${word}_test.cpp)
  endforeach()
  set(${declarations} "${d}" PARENT_SCOPE)
  set(${rows} "${r}" PARENT_SCOPE)
  set(${sources} "${s}" PARENT_SCOPE)
  set(${tests} "${t}" PARENT_SCOPE)
endfunction()

# millrace_add_algorithms(ALGORITHMS grpo ... CORRECTIONS truncated ... SHARED a.cpp ... [TESTS a_test.cpp ...])
#
# The one list of algorithms and off-policy corrections: each word's row (algorithms/<word>.cpp,
# algorithms/corrections/<word>.cpp) goes into the tables that `all()` and `all_corrections()` give, and demands its line in
# README.md. SHARED are the pieces they have in common, with their TESTS (paths from the root).
function(millrace_add_algorithms)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "ALGORITHMS;CORRECTIONS;SHARED;TESTS")
  file(READ ${PROJECT_SOURCE_DIR}/README.md readme)
  foreach(word IN LISTS arg_ALGORITHMS arg_CORRECTIONS)
    string(FIND "${readme}" "\n| `${word}` |" line)
    if(line EQUAL -1)
      message(FATAL_ERROR "README.md, section Algorithms, has no line for `${word}`")
    endif()
  endforeach()
  millrace_table_of(algorithm algorithms "${arg_ALGORITHMS}" declarations rows sources tests)
  millrace_table_of(correction algorithms/corrections "${arg_CORRECTIONS}" declarations2 rows2 sources2 tests2)
  file(CONFIGURE OUTPUT table.cpp @ONLY CONTENT [[
// Written by millrace_add_algorithms(): edit the list there, not this file.
#include "algorithms/correction.hpp"

namespace millrace::algorithms {

@declarations@
@declarations2@
namespace {

constexpr const algorithm* rows[] = {
@rows@};

constexpr const correction* correction_rows[] = {
@rows2@};

template <class Row> const Row* named(std::span<const Row* const> among, std::string_view name) {
  for (const Row* row : among)
    if (row->name == name)
      return row;
  return nullptr;
}

} // namespace

std::span<const algorithm* const> all() { return rows; }
std::span<const correction* const> all_corrections() { return correction_rows; }

const algorithm* find(std::string_view name) { return named(all(), name); }
const correction* find_correction(std::string_view name) { return named(all_corrections(), name); }

} // namespace millrace::algorithms
]])
  millrace_add_module(algorithms TORCH
    SOURCES ${sources} ${sources2} ${arg_SHARED} ${CMAKE_CURRENT_BINARY_DIR}/table.cpp
    TESTS ${tests} ${tests2} ${arg_TESTS})
endfunction()

# millrace_add_rules(exact number ... [SHARED rule.cpp ...] [TESTS rule_test.cpp ...])
#
# The one list of rules. Each name compiles runtime/rules/<name>.cpp, which must define `const rule_type <name>`, adds the
# row of the table that the pipeline's reader searches, and demands tests/runtime/rules/<name>_test.cpp. SHARED are the
# folder's other sources.
function(millrace_add_rules)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "SHARED;TESTS")
  millrace_table_of(rule_type runtime/rules "${arg_UNPARSED_ARGUMENTS}" declarations rows sources tests)
  file(CONFIGURE OUTPUT table.cpp @ONLY CONTENT [[
// Written by millrace_add_rules(): edit the list there, not this file.
#include "runtime/rules/rule.hpp"

namespace millrace::rules {

@declarations@
namespace {

constexpr const rule_type* rows[] = {
@rows@};

} // namespace

std::span<const rule_type* const> rule_types() { return rows; }

} // namespace millrace::rules
]])
  millrace_add_module(rules
    SOURCES ${sources} ${arg_SHARED} ${CMAKE_CURRENT_BINARY_DIR}/table.cpp
    DEPENDS PkgConfig::PCRE2 PkgConfig::UTF8PROC Threads::Threads
    TESTS ${tests} ${arg_TESTS})
endfunction()
