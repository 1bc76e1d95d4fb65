#include "blas.h"

#include <limits>
#include <stdexcept>
#include <vector>

namespace grokrfm::blas {

namespace {

int narrow(std::ptrdiff_t size) {
    if (size > std::numeric_limits<int>::max())
        throw std::length_error("a dimension exceeds the 32-bit integers of SciPy's BLAS");
    return static_cast<int>(size);
}

}  // namespace

template <class T>
Routines<T>& routines() {
    static Routines<T> table{};
    return table;
}

template <class T>
void gemm(char op_a, char op_b, std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, T alpha,
          const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, T beta, T* c,
          std::ptrdiff_t ldc) {
    int m_ = narrow(m), n_ = narrow(n), k_ = narrow(k);
    int lda_ = narrow(lda), ldb_ = narrow(ldb), ldc_ = narrow(ldc);
    if (m == 1 && k > 0) {  // gemm would copy all of B
        char op = op_b == 'N' ? 'T' : 'N';
        int step = op_a == 'N' ? lda_ : 1;
        routines<T>().gemv(&op, op_b == 'N' ? &k_ : &n_, op_b == 'N' ? &n_ : &k_, &alpha,
                           const_cast<T*>(b), &ldb_, const_cast<T*>(a), &step, &beta, c, &ldc_);
        return;
    }
    routines<T>().gemm(&op_a, &op_b, &m_, &n_, &k_, &alpha, const_cast<T*>(a), &lda_,
                       const_cast<T*>(b), &ldb_, &beta, c, &ldc_);
}

template <class T>
void syrk(std::ptrdiff_t n, std::ptrdiff_t k, T alpha, const T* a, std::ptrdiff_t lda, T beta, T* c,
          std::ptrdiff_t ldc) {
    char triangle = 'U', op = 'T';
    int n_ = narrow(n), k_ = narrow(k), lda_ = narrow(lda), ldc_ = narrow(ldc);
    routines<T>().syrk(&triangle, &op, &n_, &k_, &alpha, const_cast<T*>(a), &lda_, &beta, c, &ldc_);
}

template <class T>
void solve_right_transposed(std::ptrdiff_t m, std::ptrdiff_t n, const T* lower, std::ptrdiff_t ldl,
                            T* b, std::ptrdiff_t ldb) {
    char side = 'R', triangle = 'L', op = 'T', diagonal = 'N';
    T one = 1;
    int m_ = narrow(m), n_ = narrow(n), ldl_ = narrow(ldl), ldb_ = narrow(ldb);
    routines<T>().trsm(&side, &triangle, &op, &diagonal, &m_, &n_, &one, const_cast<T*>(lower),
                       &ldl_, b, &ldb_);
}

template <class T>
int potrf(std::ptrdiff_t n, T* a, std::ptrdiff_t lda) {
    char triangle = 'L';
    int n_ = narrow(n), lda_ = narrow(lda), info = 0;
    routines<T>().potrf(&triangle, &n_, a, &lda_, &info);
    return info;
}

template <class T>
int potrs(std::ptrdiff_t n, std::ptrdiff_t right_hand_sides, const T* factor, std::ptrdiff_t lda,
          T* b, std::ptrdiff_t ldb) {
    char triangle = 'L';
    int n_ = narrow(n), r_ = narrow(right_hand_sides), lda_ = narrow(lda), ldb_ = narrow(ldb);
    int info = 0;
    routines<T>().potrs(&triangle, &n_, &r_, const_cast<T*>(factor), &lda_, b, &ldb_, &info);
    return info;
}

int syevd(std::ptrdiff_t n, double* a, std::ptrdiff_t lda, double* w) {
    char job = 'V', triangle = 'U';
    int n_ = narrow(n), lda_ = narrow(lda), info = 0, work_size = -1, integer_work_size = -1;
    double best_work = 0;
    int best_integer_work = 0;
    const auto call = [&](double* work, int* integer_work) {
        routines<double>().syevd(&job, &triangle, &n_, a, &lda_, w, work, &work_size, integer_work,
                                 &integer_work_size, &info);
    };
    call(&best_work, &best_integer_work);  // asks for the sizes
    work_size = static_cast<int>(best_work);
    integer_work_size = best_integer_work;
    std::vector<double> work(static_cast<std::size_t>(work_size));
    std::vector<int> integer_work(static_cast<std::size_t>(integer_work_size));
    call(work.data(), integer_work.data());
    return info;
}

#define GROKRFM_INSTANTIATE(T)                                                                     \
    template Routines<T>& routines<T>();                                                           \
    template void gemm<T>(char, char, std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t, T, const T*, \
                          std::ptrdiff_t, const T*, std::ptrdiff_t, T, T*, std::ptrdiff_t);        \
    template void syrk<T>(std::ptrdiff_t, std::ptrdiff_t, T, const T*, std::ptrdiff_t, T, T*,      \
                          std::ptrdiff_t);                                                         \
    template void solve_right_transposed<T>(std::ptrdiff_t, std::ptrdiff_t, const T*,              \
                                            std::ptrdiff_t, T*, std::ptrdiff_t);                   \
    template int potrf<T>(std::ptrdiff_t, T*, std::ptrdiff_t);                                     \
    template int potrs<T>(std::ptrdiff_t, std::ptrdiff_t, const T*, std::ptrdiff_t, T*,            \
                          std::ptrdiff_t);
GROKRFM_INSTANTIATE(float)
GROKRFM_INSTANTIATE(double)
#undef GROKRFM_INSTANTIATE

}  // namespace grokrfm::blas
