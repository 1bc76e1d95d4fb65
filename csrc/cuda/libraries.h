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

template <class T>
using Gemm = Status (*)(Handle, int op_a, int op_b, int m, int n, int k, const T* alpha, const T* a,
                        int lda, const T* b, int ldb, const T* beta, T* c, int ldc);
template <class T>
using BatchedGemm = Status (*)(Handle, int op_a, int op_b, int m, int n, int k, const T* alpha,
                               const T* a, int lda, long long stride_a, const T* b, int ldb,
                               long long stride_b, const T* beta, T* c, int ldc, long long stride_c,
                               int batch);

struct Routines {
    Status (*cublasCreate_v2)(Handle*);
    Status (*cublasDestroy_v2)(Handle);
    Status (*cublasSetStream_v2)(Handle, cudaStream_t);
    Status (*cublasSetMathMode)(Handle, int mode);
    Gemm<float> cublasSgemm_v2;
    Gemm<double> cublasDgemm_v2;
    BatchedGemm<float> cublasSgemmStridedBatched;
    BatchedGemm<double> cublasDgemmStridedBatched;

    Status (*cusolverDnCreate)(Handle*);
    Status (*cusolverDnDestroy)(Handle);
    Status (*cusolverDnSetStream)(Handle, cudaStream_t);
    Status (*cusolverDnCreateParams)(Handle*);
    Status (*cusolverDnDestroyParams)(Handle);
    Status (*cusolverDnXpotrf_bufferSize)(Handle, Handle params, int fill, std::int64_t n,
                                          cudaDataType, const void* a, std::int64_t lda,
                                          cudaDataType compute, std::size_t* device_bytes,
                                          std::size_t* host_bytes);
    Status (*cusolverDnXpotrf)(Handle, Handle params, int fill, std::int64_t n, cudaDataType,
                               void* a, std::int64_t lda, cudaDataType compute, void* device_work,
                               std::size_t device_bytes, void* host_work, std::size_t host_bytes,
                               int* info);
    Status (*cusolverDnXpotrs)(Handle, Handle params, int fill, std::int64_t n, std::int64_t nrhs,
                               cudaDataType, const void* a, std::int64_t lda, cudaDataType, void* b,
                               std::int64_t ldb, int* info);
    Status (*cusolverDnXsyevd_bufferSize)(Handle, Handle params, int mode, int fill, std::int64_t n,
                                          cudaDataType, const void* a, std::int64_t lda,
                                          cudaDataType, const void* w, cudaDataType compute,
                                          std::size_t* device_bytes, std::size_t* host_bytes);
    Status (*cusolverDnXsyevd)(Handle, Handle params, int mode, int fill, std::int64_t n,
                               cudaDataType, void* a, std::int64_t lda, cudaDataType, void* w,
                               cudaDataType compute, void* device_work, std::size_t device_bytes,
                               void* host_work, std::size_t host_bytes, int* info);
    // Since CUDA 12.6.2.
    Status (*cusolverDnXsyevBatched_bufferSize)(Handle, Handle params, int mode, int fill,
                                                std::int64_t n, cudaDataType, const void* a,
                                                std::int64_t lda, cudaDataType, const void* w,
                                                cudaDataType compute, std::size_t* device_bytes,
                                                std::size_t* host_bytes, std::int64_t batch);
    Status (*cusolverDnXsyevBatched)(Handle, Handle params, int mode, int fill, std::int64_t n,
                                     cudaDataType, void* a, std::int64_t lda, cudaDataType, void* w,
                                     cudaDataType compute, void* device_work,
                                     std::size_t device_bytes, void* host_work,
                                     std::size_t host_bytes, int* info, std::int64_t batch);
};

}  // namespace grokrfm::cuda
