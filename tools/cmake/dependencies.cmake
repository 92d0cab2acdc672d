# Every library the project stands on, as one imported target each.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(UCX REQUIRED IMPORTED_TARGET ucx)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)

# -- LibTorch out of the wheel: its own TorchConfig.cmake insists on a CUDA toolkit ----------------

if(NOT EXISTS ${MILLRACE_TORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR
    "no LibTorch in MILLRACE_TORCH=${MILLRACE_TORCH}: run tools/setup, or name a folder that holds include/ and lib/")
endif()
add_library(millrace_torch INTERFACE)
add_library(millrace::torch ALIAS millrace_torch)
target_include_directories(millrace_torch SYSTEM INTERFACE
  ${MILLRACE_TORCH}/include ${MILLRACE_TORCH}/include/torch/csrc/api/include)
target_link_directories(millrace_torch INTERFACE ${MILLRACE_TORCH}/lib)
target_link_options(millrace_torch INTERFACE
  -Wl,-rpath-link,${MILLRACE_TORCH}/lib -Wl,-rpath,${MILLRACE_TORCH}/lib -Wl,--disable-new-dtags)
target_link_libraries(millrace_torch INTERFACE torch_cpu c10 ${MILLRACE_TORCH}/lib/libgomp.so.1 Threads::Threads)
if(MILLRACE_CUDA)
  target_link_libraries(millrace_torch INTERFACE
    -Wl,--no-as-needed torch_cuda c10_cuda -Wl,--as-needed $<LINK_ONLY:CUDA::cudart>)
  target_link_options(millrace_torch INTERFACE -Wl,--unresolved-symbols=ignore-in-shared-libs)

  # -- NCCL: this machine's, or that of NVIDIA's wheel (tools/setup --cuda) -------------------------
  cmake_path(GET MILLRACE_TORCH PARENT_PATH wheels)
  find_path(NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${wheels}/nvidia/nccl/include REQUIRED)
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2
    HINTS ${CUDAToolkit_LIBRARY_DIR} ${wheels}/nvidia/nccl/lib REQUIRED)
  add_library(millrace_nccl INTERFACE)
  add_library(millrace::nccl ALIAS millrace_nccl)
  target_include_directories(millrace_nccl SYSTEM INTERFACE ${NCCL_INCLUDE})
  target_link_libraries(millrace_nccl INTERFACE ${NCCL_LIBRARY})
endif()

# -- CAF 0.17: Debian ships neither a CMake package nor a .pc file ---------------------------------

add_library(millrace_caf INTERFACE)
add_library(millrace::caf ALIAS millrace_caf)
foreach(part core io openssl)
  find_library(CAF_${part} caf_${part} REQUIRED)
  target_link_libraries(millrace_caf INTERFACE ${CAF_${part}})
endforeach()
target_link_libraries(millrace_caf INTERFACE OpenSSL::SSL OpenSSL::Crypto Threads::Threads)

add_library(millrace_ucx INTERFACE)
add_library(millrace::ucx ALIAS millrace_ucx)
target_link_libraries(millrace_ucx INTERFACE PkgConfig::UCX)

find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()
