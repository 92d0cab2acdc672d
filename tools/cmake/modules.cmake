# -- flags every target shares: linked PRIVATE ------------------------------------------------------

add_library(millrace_flags INTERFACE)
target_compile_features(millrace_flags INTERFACE cxx_std_20)
# Designated initialisers leave fields at their defaults on purpose: that is no warning.
target_compile_options(millrace_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:
    -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers -Werror=return-type -fno-math-errno>)
target_include_directories(millrace_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(MILLRACE_WERROR)
  target_compile_options(millrace_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(MILLRACE_SANITIZE)
  # No null check: CAF 0.17 binds a reference to *shared_ptr<tuple<>>() whenever it spawns (init_fun_factory.hpp:99).
  target_compile_options(millrace_flags INTERFACE
    -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize-recover=undefined -fno-sanitize=null -fno-omit-frame-pointer)
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

# -- two levels of optimisation ----------------------------------------------------------------------
# A release is compiled with -O3 where it computes (HOT modules: kernels, models, engines, learners, the scheduler) and
# with -O1 where it waits (tests, actors, files, the command line): a quarter less time a file.
set(MILLRACE_LIGHT $<$<CONFIG:Release>:-O1>)

option(MILLRACE_UNITY "Compile several sources of a folder as one: a third of the time from nothing" ON)

# -- LibTorch's header, precompiled once for each level ------------------------------------------------
# CPU seconds of a unit that does nothing but include (g++ 12):
#
#   <ATen/core/Tensor.h>   1.8     headers include this and no more
#   <ATen/ops/zeros.h>     4.6     a list of single operations saves little: each brings <ATen/Context.h>
#   <ATen/ATen.h>          6.7     sources that compute include this
#   precompiled            1.3     every unit of a TORCH module and of its tests; making it takes 16 s and 390 MB
#
# So a source without tensors belongs into a module without TORCH. LibTorch's autograd is not in the header: a unit
# would take twice as long, and three files need it. g++ 12 crashes over a header of another level, hence the two.
function(millrace_torch_header target)
  add_library(${target} STATIC ${PROJECT_SOURCE_DIR}/tools/cmake/pch.cpp)
  target_link_libraries(${target} PRIVATE millrace_flags millrace::torch)
  target_compile_options(${target} PRIVATE ${ARGN})
  target_precompile_headers(${target} PRIVATE <ATen/ATen.h>)
endfunction()

millrace_torch_header(millrace_torch_pch)
set(MILLRACE_LIGHT_PCH millrace_torch_pch)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  millrace_torch_header(millrace_torch_pch_light ${MILLRACE_LIGHT})
  set(MILLRACE_LIGHT_PCH millrace_torch_pch_light)
endif()

if(MILLRACE_TESTS)
  add_library(millrace_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/support/test_main.cpp)
  target_link_libraries(millrace_test_main PRIVATE millrace_flags)
  target_compile_options(millrace_test_main PUBLIC ${MILLRACE_LIGHT})
endif()

# -- modules -------------------------------------------------------------------------------------------

# millrace_unit(target SIZE n): the compiler reads the sources of `target` n at a time, as one file (a unit). Two
# sources of a folder may therefore not define the same name, not even in anonymous namespaces: share it, or name it
# after its owner.
function(millrace_unit target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SIZE" "")
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${MILLRACE_UNITY} UNITY_BUILD_BATCH_SIZE ${arg_SIZE})
endfunction()

# millrace_add_module(name [HOT] [TORCH] [UNIT n] SOURCES a.cpp ... [ALONE b.cpp ...] [CUDA c.cu ...]
#                     [DEPENDS target ...] [TESTS tests/.../a_test.cpp ...])
#
# Makes the library millrace_<name> out of this folder and the program test_<name>, which is one ctest, out of TESTS
# (paths from the root).
#
#   HOT      computes: -O3 instead of -O1
#   TORCH    uses LibTorch: links it, and compiles library and tests over its precompiled header
#   SOURCES  every source has its line here: no GLOB
#   UNIT n   n of them make a unit (10): as many as the compiler reads in 10 CPU seconds, as it does after every touch
#   ALONE    further sources, each a unit of its own: what a macro or a name of theirs would spoil for others
#   CUDA     compiled in a CUDA build only. Only a module that has them sees the CUDA toolkit and MILLRACE_CUDA, so that
#            a CUDA build compiles everything else as every build does
#   DEPENDS  what its headers or sources include of other modules and libraries
function(millrace_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "HOT;TORCH" "UNIT" "SOURCES;CUDA;DEPENDS;ALONE;TESTS")
  set(cuda_sources "")
  if(MILLRACE_CUDA)
    set(cuda_sources ${arg_CUDA})
  endif()
  if(NOT arg_UNIT)
    set(arg_UNIT 10)
  endif()
  add_library(millrace_${name} STATIC ${arg_SOURCES} ${arg_ALONE} ${cuda_sources})
  target_link_libraries(millrace_${name} PUBLIC ${arg_DEPENDS} PRIVATE millrace_flags)
  target_include_directories(millrace_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  millrace_unit(millrace_${name} SIZE ${arg_UNIT})
  set_source_files_properties(${arg_ALONE} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  if(arg_TORCH)
    target_link_libraries(millrace_${name} PUBLIC millrace::torch)
  endif()
  if(NOT arg_HOT)
    target_compile_options(millrace_${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${MILLRACE_LIGHT}>)
  elseif(arg_TORCH)
    target_precompile_headers(millrace_${name} REUSE_FROM millrace_torch_pch)
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
    millrace_unit(test_${name} SIZE 16)
    if(arg_TORCH)
      target_precompile_headers(test_${name} REUSE_FROM ${MILLRACE_LIGHT_PCH})
    endif()
    if(cuda_sources)
      target_compile_definitions(test_${name} PRIVATE MILLRACE_CUDA=1)
      target_link_libraries(test_${name} PRIVATE CUDA::cudart)
    endif()
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS ${name} ENVIRONMENT "${MILLRACE_TEST_ENVIRONMENT}")
  endif()
endfunction()

include(tables)
