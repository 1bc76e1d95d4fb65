// The device layer on CUDA: runtime, cuBLAS, cuSOLVER.
#include <cuda_runtime_api.h>

#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "device.h"
#include "libraries.h"

namespace grokrfm::cuda {

namespace {

void check(cudaError_t error, const char* what) {
    if (error != cudaSuccess)
        throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

void check_library(Status status, const char* what) {
    if (status != 0)
        throw std::runtime_error(std::string(what) + " failed with status " +
                                 std::to_string(status));
}

int narrow(std::ptrdiff_t size) {
    if (size > std::numeric_limits<int>::max())
        throw std::length_error("a dimension exceeds the 32-bit integers of cuBLAS");
    return static_cast<int>(size);
}

template <class T>
constexpr cudaDataType data_type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;

int blas_op(char op) {
    return op == 'T' ? blas_op_transpose : blas_op_none;
}

}  // namespace

struct Device::Libraries {
    explicit Libraries(const std::map<std::string, std::uintptr_t>& addresses) {
        if (Device::count() == 0)
            throw std::runtime_error("CUDA: there is no GPU, or no driver for this CUDA version");
#define GROKRFM_BIND(name, ...)                                                                    \
    {                                                                                              \
        const auto found = addresses.find(#name);                                                  \
        if (found == addresses.end()) throw std::runtime_error("CUDA: the libraries lack " #name); \
        routines.name = reinterpret_cast<decltype(routines.name)>(found->second);                  \
    }
        GROKRFM_ROUTINES(GROKRFM_BIND)
#undef GROKRFM_BIND
        check(cudaMallocHost(&answer, sizeof *answer), "memory for answers");
        check(cudaEventCreateWithFlags(&answered, cudaEventDisableTiming), "an event");
        check_library(routines.cublasCreate_v2(&blas), "cublasCreate");
        check_library(routines.cusolverDnCreate(&solver), "cusolverDnCreate");
        check_library(routines.cusolverDnCreateParams(&params), "cusolverDnCreateParams");
    }
    ~Libraries() {
        if (params != nullptr) routines.cusolverDnDestroyParams(params);
        if (solver != nullptr) routines.cusolverDnDestroy(solver);
        if (blas != nullptr) routines.cublasDestroy_v2(blas);
        if (answered != nullptr) cudaEventDestroy(answered);
        if (answer != nullptr) cudaFreeHost(answer);
    }
    Libraries(const Libraries&) = delete;
    Libraries& operator=(const Libraries&) = delete;

    Routines routines{};
    double* answer = nullptr;  // pinned: copies to it do not wait
    cudaEvent_t answered = nullptr;
    Handle blas = nullptr, solver = nullptr, params = nullptr;
    std::vector<char> host_work;  // cuSOLVER's; calls return when they are done with it
};

std::vector<std::string> Device::routine_names() {
#define GROKRFM_NAME(name, ...) #name,
    return {GROKRFM_ROUTINES(GROKRFM_NAME)};
#undef GROKRFM_NAME
}

Device::Device(const std::map<std::string, std::uintptr_t>& addresses, bool tf32)
    : libraries_(std::make_unique<Libraries>(addresses)), tf32_(tf32) {}

Device::~Device() = default;

int Device::count() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) == cudaSuccess) return devices;
    cudaGetLastError();  // no driver, or no device: not to be seen by the next call
    return 0;
}

void Device::use_stream(std::uintptr_t stream) {
    stream_ = stream;
    const auto as_stream = reinterpret_cast<cudaStream_t>(stream);
    const Routines& routines = libraries_->routines;
    check_library(routines.cublasSetStream_v2(libraries_->blas, as_stream), "cublasSetStream");
    check_library(routines.cusolverDnSetStream(libraries_->solver, as_stream),
                  "cusolverDnSetStream");
}

void Device::clear(void* data, std::size_t bytes) {
    check(cudaMemsetAsync(data, 0, bytes, reinterpret_cast<cudaStream_t>(stream_)), "memset");
}

void Device::read(const void* from, void* to, std::size_t bytes) {
    const auto as_stream = reinterpret_cast<cudaStream_t>(stream_);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, as_stream), "copy to the host");
    check(cudaStreamSynchronize(as_stream), "an operation on the device");
}

void Device::ask(const double* number) {
    const auto as_stream = reinterpret_cast<cudaStream_t>(stream_);
    check(cudaMemcpyAsync(libraries_->answer, number, sizeof *number, cudaMemcpyDeviceToHost,
                          as_stream),
          "copy of an answer");
    check(cudaEventRecord(libraries_->answered, as_stream), "record of an event");
}

double Device::answer() {
    check(cudaEventSynchronize(libraries_->answered), "an operation on the device");
    return *libraries_->answer;
}

struct Device::Repeated::Recording {
    ~Recording() {
        if (graph != nullptr) cudaGraphExecDestroy(graph);  // after what it still does
    }
    int calls = 0;
    cudaGraphExec_t graph = nullptr;
};

Device::Repeated::Repeated(Device& device, std::function<void()> put)
    : device_(device), put_(std::move(put)), recording_(std::make_unique<Recording>()) {}

Device::Repeated::~Repeated() = default;

// The first time loads the kernels, which a recording must not. Nothing is recorded from the
// default stream.
void Device::Repeated::operator()() {
    const auto stream = reinterpret_cast<cudaStream_t>(device_.stream());
    if (recording_->calls++ == 0 || stream == nullptr || stream == cudaStreamLegacy) return put_();
    if (recording_->graph == nullptr) {
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "a recording");
        cudaGraph_t graph = nullptr;
        try {
            put_();
        } catch (...) {
            cudaStreamEndCapture(stream, &graph);
            if (graph != nullptr) cudaGraphDestroy(graph);
            throw;
        }
        check(cudaStreamEndCapture(stream, &graph), "the end of a recording");
        const cudaError_t made = cudaGraphInstantiate(&recording_->graph, graph, 0);
        cudaGraphDestroy(graph);
        check(made, "a graph of a recording");
    }
    check(cudaGraphLaunch(recording_->graph, stream), "a graph");
}

template <class T>
void Device::multiply(std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, T alpha, Factor<T> a,
                      Factor<T> b, T beta, Product<T> c, std::ptrdiff_t batch) {
    const Routines& routines = libraries_->routines;
    constexpr bool single = std::is_same_v<T, float>;
    const auto gemm =
        std::get<single ? 0 : 1>(std::tuple(routines.cublasSgemm_v2, routines.cublasDgemm_v2));
    const auto batched_gemm = std::get<single ? 0 : 1>(
        std::tuple(routines.cublasSgemmStridedBatched, routines.cublasDgemmStridedBatched));
    check_library(routines.cublasSetMathMode(
                      libraries_->blas, tf32_ && rounding_ ? blas_tf32_math : blas_default_math),
                  "cublasSetMathMode");
    // cuBLAS is column-major: it sees the transposes, C' = op(B)' op(A)'.
    const int op_a = blas_op(a.op), op_b = blas_op(b.op);
    if (batch == 1)  // the plain product may split long sums over the device
        check_library(gemm(libraries_->blas, op_b, op_a, narrow(n), narrow(m), narrow(k), &alpha,
                           b.data, narrow(b.ld), a.data, narrow(a.ld), &beta, c.data, narrow(c.ld)),
                      "cublasGemm");
    else
        check_library(batched_gemm(libraries_->blas, op_b, op_a, narrow(n), narrow(m), narrow(k),
                                   &alpha, b.data, narrow(b.ld), b.stride, a.data, narrow(a.ld),
                                   a.stride, &beta, c.data, narrow(c.ld), c.stride, narrow(batch)),
                      "cublasGemmStridedBatched");
}

// The matrix is symmetric, so its lower triangle in columns is there whatever the order.
template <class T>
std::size_t Device::factorise_bytes(std::ptrdiff_t n, T* a) {
    std::size_t bytes = 0, host_bytes = 0;
    check_library(libraries_->routines.cusolverDnXpotrf_bufferSize(
                      libraries_->solver, libraries_->params, fill_lower, n, data_type<T>, a, n,
                      data_type<T>, &bytes, &host_bytes),
                  "cusolverDnXpotrf_bufferSize");
    libraries_->host_work.resize(host_bytes);
    return bytes;
}

template <class T>
void Device::factorise(std::ptrdiff_t n, T* a, void* work, std::size_t bytes, int* info) {
    check_library(
        libraries_->routines.cusolverDnXpotrf(
            libraries_->solver, libraries_->params, fill_lower, n, data_type<T>, a, n, data_type<T>,
            work, bytes, libraries_->host_work.data(), libraries_->host_work.size(), info),
        "cusolverDnXpotrf");
}

template <class T>
void Device::solve_factorised(std::ptrdiff_t n, std::ptrdiff_t rows, const T* factor, T* x,
                              int* info) {
    check_library(libraries_->routines.cusolverDnXpotrs(libraries_->solver, libraries_->params,
                                                        fill_lower, n, rows, data_type<T>, factor,
                                                        n, data_type<T>, x, n, info),
                  "cusolverDnXpotrs");
}

std::size_t Device::eigen_bytes(std::ptrdiff_t d, double* a, double* values, std::ptrdiff_t batch) {
    std::size_t bytes = 0, host_bytes = 0;
    const Routines& routines = libraries_->routines;
    if (batch == 1)
        check_library(routines.cusolverDnXsyevd_bufferSize(
                          libraries_->solver, libraries_->params, eigen_vectors, fill_lower, d,
                          CUDA_R_64F, a, d, CUDA_R_64F, values, CUDA_R_64F, &bytes, &host_bytes),
                      "cusolverDnXsyevd_bufferSize");
    else
        check_library(
            routines.cusolverDnXsyevBatched_bufferSize(
                libraries_->solver, libraries_->params, eigen_vectors, fill_lower, d, CUDA_R_64F, a,
                d, CUDA_R_64F, values, CUDA_R_64F, &bytes, &host_bytes, batch),
            "cusolverDnXsyevBatched_bufferSize");
    libraries_->host_work.resize(host_bytes);
    return bytes;
}

void Device::eigen(std::ptrdiff_t d, double* a, double* values, void* work, std::size_t bytes,
                   int* info, std::ptrdiff_t batch) {
    const Routines& routines = libraries_->routines;
    std::vector<char>& host = libraries_->host_work;
    if (batch == 1)
        check_library(
            routines.cusolverDnXsyevd(libraries_->solver, libraries_->params, eigen_vectors,
                                      fill_lower, d, CUDA_R_64F, a, d, CUDA_R_64F, values,
                                      CUDA_R_64F, work, bytes, host.data(), host.size(), info),
            "cusolverDnXsyevd");
    else
        check_library(routines.cusolverDnXsyevBatched(libraries_->solver, libraries_->params,
                                                      eigen_vectors, fill_lower, d, CUDA_R_64F, a,
                                                      d, CUDA_R_64F, values, CUDA_R_64F, work,
                                                      bytes, host.data(), host.size(), info, batch),
                      "cusolverDnXsyevBatched");
}

#define GROKRFM_INSTANTIATE(T)                                                              \
    template void Device::multiply<T>(std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t, T,    \
                                      Factor<T>, Factor<T>, T, Product<T>, std::ptrdiff_t); \
    template std::size_t Device::factorise_bytes<T>(std::ptrdiff_t, T*);                    \
    template void Device::factorise<T>(std::ptrdiff_t, T*, void*, std::size_t, int*);       \
    template void Device::solve_factorised<T>(std::ptrdiff_t, std::ptrdiff_t, const T*, T*, int*);
GROKRFM_INSTANTIATE(float)
GROKRFM_INSTANTIATE(double)
#undef GROKRFM_INSTANTIATE

}  // namespace grokrfm::cuda
