# grokrfm._cuda: the operations for NVIDIA GPUs, with the CUDA runtime linked in statically and
# cuBLAS and cuSOLVER found at run time. Included only where it is wanted, so that the CPU module
# needs neither a compiler for it nor its headers.

set(GROKRFM_CUDA_OBSTACLE "no CUDA compiler")
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  # A compiler that is too old, or does not go with the C++ compiler, is found out here: after
  # enable_language there is no way back to a build without it.
  execute_process(
    COMMAND ${CMAKE_CUDA_COMPILER} -ccbin ${CMAKE_CXX_COMPILER} -std=c++17 --extended-lambda
            -gencode arch=compute_90,code=sm_90 -c ${CMAKE_CURRENT_LIST_DIR}/checks.cu
            -o ${CMAKE_CURRENT_BINARY_DIR}/checks.o
    RESULT_VARIABLE failed OUTPUT_VARIABLE GROKRFM_CUDA_OBSTACLE
    ERROR_VARIABLE GROKRFM_CUDA_OBSTACLE)
  if(failed EQUAL 0)
    set(GROKRFM_CUDA_OBSTACLE "")
  endif()
endif()
if(GROKRFM_CUDA_OBSTACLE)
  if(NOT GROKRFM_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "GROKRFM_CUDA=${GROKRFM_CUDA}: ${GROKRFM_CUDA_OBSTACLE}")
  endif()
  message(STATUS "CUDA extension left out: ${GROKRFM_CUDA_OBSTACLE}")
  return()
endif()

# Machine code for A100 and H100, and PTX for what comes later.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

pybind11_add_module(_cuda NO_EXTRAS
  csrc/cuda/agop.cu
  csrc/cuda/checks.cu
  csrc/cuda/cholesky_solve.cu
  csrc/cuda/decision_function.cu
  csrc/cuda/device_cuda.cu
  csrc/cuda/grid_round.cu
  csrc/cuda/kernel_matrix.cu
  csrc/cuda/matrix_power.cu
  csrc/cuda/square_root.cu
  csrc/cuda/module.cpp)
target_compile_options(_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda>
  $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-O3 -Wall -Wextra -Wconversion>)
list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
target_compile_definitions(_cuda PRIVATE
  GROKRFM_MODULE=_cuda
  GROKRFM_CUDA_COMPILER="${CMAKE_CUDA_COMPILER_ID} ${CMAKE_CUDA_COMPILER_VERSION}"
  GROKRFM_CUDA_ARCHITECTURES="${architectures}")
install(TARGETS _cuda LIBRARY DESTINATION grokrfm)
message(STATUS "CUDA extension: ${CMAKE_CUDA_COMPILER_ID} ${CMAKE_CUDA_COMPILER_VERSION}")
