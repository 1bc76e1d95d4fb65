// The functions of cuBLAS and cuSOLVER in use, declared from NVIDIA's documentation: nothing is
// linked, and their headers are not needed. The addresses come from the libraries that CuPy loads.
#pragma once

#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>

namespace grokrfm::cuda {

using Handle = void*;  // cublasHandle_t, cusolverDnHandle_t, cusolverDnParams_t
using Status = int;    // cublasStatus_t, cusolverStatus_t; 0 is success

constexpr int blas_op_none = 0, blas_op_transpose = 1;    // cublasOperation_t
constexpr int blas_default_math = 0, blas_tf32_math = 3;  // cublasMath_t
constexpr int fill_lower = 0;                             // cublasFillMode_t
constexpr int eigen_vectors = 1;                          // cusolverEigMode_t

// Name and parameters of each, the one list that the struct, the binding and Python go by.
#define GROKRFM_GEMM(T)                                                                   \
    Handle, int op_a, int op_b, int m, int n, int k, const T *alpha, const T *a, int lda, \
        const T *b, int ldb, const T *beta, T *c, int ldc
#define GROKRFM_BATCHED_GEMM(T)                                                                    \
    Handle, int op_a, int op_b, int m, int n, int k, const T *alpha, const T *a, int lda,          \
        long long stride_a, const T *b, int ldb, long long stride_b, const T *beta, T *c, int ldc, \
        long long stride_c, int batch
#define GROKRFM_ROUTINES(ROUTINE)                                                                 \
    ROUTINE(cublasCreate_v2, Handle*)                                                             \
    ROUTINE(cublasDestroy_v2, Handle)                                                             \
    ROUTINE(cublasSetStream_v2, Handle, cudaStream_t)                                             \
    ROUTINE(cublasSetMathMode, Handle, int mode)                                                  \
    ROUTINE(cublasSgemm_v2, GROKRFM_GEMM(float))                                                  \
    ROUTINE(cublasDgemm_v2, GROKRFM_GEMM(double))                                                 \
    ROUTINE(cublasSgemmStridedBatched, GROKRFM_BATCHED_GEMM(float))                               \
    ROUTINE(cublasDgemmStridedBatched, GROKRFM_BATCHED_GEMM(double))                              \
    ROUTINE(cusolverDnCreate, Handle*)                                                            \
    ROUTINE(cusolverDnDestroy, Handle)                                                            \
    ROUTINE(cusolverDnSetStream, Handle, cudaStream_t)                                            \
    ROUTINE(cusolverDnCreateParams, Handle*)                                                      \
    ROUTINE(cusolverDnDestroyParams, Handle)                                                      \
    ROUTINE(cusolverDnXpotrf_bufferSize, Handle, Handle params, int fill, std::int64_t n,         \
            cudaDataType, const void* a, std::int64_t lda, cudaDataType compute,                  \
            std::size_t* device_bytes, std::size_t* host_bytes)                                   \
    ROUTINE(cusolverDnXpotrf, Handle, Handle params, int fill, std::int64_t n, cudaDataType,      \
            void* a, std::int64_t lda, cudaDataType compute, void* device_work,                   \
            std::size_t device_bytes, void* host_work, std::size_t host_bytes, int* info)         \
    ROUTINE(cusolverDnXpotrs, Handle, Handle params, int fill, std::int64_t n, std::int64_t nrhs, \
            cudaDataType, const void* a, std::int64_t lda, cudaDataType, void* b,                 \
            std::int64_t ldb, int* info)                                                          \
    ROUTINE(cusolverDnXsyevd_bufferSize, Handle, Handle params, int mode, int fill,               \
            std::int64_t n, cudaDataType, const void* a, std::int64_t lda, cudaDataType,          \
            const void* w, cudaDataType compute, std::size_t* device_bytes,                       \
            std::size_t* host_bytes)                                                              \
    ROUTINE(cusolverDnXsyevd, Handle, Handle params, int mode, int fill, std::int64_t n,          \
            cudaDataType, void* a, std::int64_t lda, cudaDataType, void* w, cudaDataType compute, \
            void* device_work, std::size_t device_bytes, void* host_work, std::size_t host_bytes, \
            int* info)                                                                            \
    /* the batched ones since CUDA 12.6.2 */                                                      \
    ROUTINE(cusolverDnXsyevBatched_bufferSize, Handle, Handle params, int mode, int fill,         \
            std::int64_t n, cudaDataType, const void* a, std::int64_t lda, cudaDataType,          \
            const void* w, cudaDataType compute, std::size_t* device_bytes,                       \
            std::size_t* host_bytes, std::int64_t batch)                                          \
    ROUTINE(cusolverDnXsyevBatched, Handle, Handle params, int mode, int fill, std::int64_t n,    \
            cudaDataType, void* a, std::int64_t lda, cudaDataType, void* w, cudaDataType compute, \
            void* device_work, std::size_t device_bytes, void* host_work, std::size_t host_bytes, \
            int* info, std::int64_t batch)

struct Routines {
#define GROKRFM_DECLARE(name, ...) Status (*name)(__VA_ARGS__);
    GROKRFM_ROUTINES(GROKRFM_DECLARE)
#undef GROKRFM_DECLARE
};

}  // namespace grokrfm::cuda
