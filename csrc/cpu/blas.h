// BLAS and LAPACK through the pointers that SciPy exports for Cython: nothing is linked, there is
// no second thread pool, and threadpoolctl governs it. Fortran ABI, column-major, 32-bit integers.
#pragma once

#include <cstddef>

#include "product.h"

namespace grokrfm::blas {

template <class T>
struct Routines {
    void (*gemm)(char*, char*, int*, int*, int*, T*, T*, int*, T*, int*, T*, T*, int*);
    void (*gemv)(char*, int*, int*, T*, T*, int*, T*, int*, T*, T*, int*);
    void (*syrk)(char*, char*, int*, int*, T*, T*, int*, T*, T*, int*);
    void (*trsm)(char*, char*, char*, char*, int*, int*, T*, T*, int*, T*, int*);
    void (*potrf)(char*, int*, T*, int*, int*);
    void (*potrs)(char*, int*, int*, T*, int*, T*, int*, int*);
    void (*syevd)(char*, char*, int*, T*, int*, T*, T*, int*, int*, int*, int*);
};

// The table for float or double; filled once by the module at import.
template <class T>
Routines<T>& routines();

// C = alpha op(A) op(B) + beta C, column-major; op(A) is m x k, op(B) is k x n.
template <class T>
void gemm(char op_a, char op_b, std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k, T alpha,
          const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, T beta, T* c,
          std::ptrdiff_t ldc);

// The same of row-major matrices.
template <class T>
void row_major_gemm(char op_a, char op_b, std::ptrdiff_t m, std::ptrdiff_t n, std::ptrdiff_t k,
                    T alpha, const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, T beta,
                    T* c, std::ptrdiff_t ldc) {
    gemm<T>(op_b, op_a, n, m, k, alpha, b, ldb, a, lda, beta, c, ldc);
}

// Of matrices that are contiguous along rows or columns.
template <class T>
void multiply(const Product<T>& product) {
    const auto& [rows, terms, columns, left, right, out, out_stride, add] = product;
    const bool a = left.step == 1, b = right.step == 1;
    row_major_gemm<T>(a ? 'N' : 'T', b ? 'N' : 'T', rows, columns, terms, T(1), left.data,
                      a ? left.row_stride : left.step, right.data,
                      b ? right.row_stride : right.step, T(add), out, out_stride);
}

// Upper triangle of C = alpha A'A + beta C, column-major; A is k x n.
template <class T>
void syrk(std::ptrdiff_t n, std::ptrdiff_t k, T alpha, const T* a, std::ptrdiff_t lda, T beta, T* c,
          std::ptrdiff_t ldc);

// B = B L^-T, column-major; B is m x n, L lower triangular.
template <class T>
void solve_right_transposed(std::ptrdiff_t m, std::ptrdiff_t n, const T* lower, std::ptrdiff_t ldl,
                            T* b, std::ptrdiff_t ldb);

// Cholesky factor in the lower triangle (column-major), then solve; LAPACK's info.
template <class T>
int potrf(std::ptrdiff_t n, T* a, std::ptrdiff_t lda);
template <class T>
int potrs(std::ptrdiff_t n, std::ptrdiff_t right_hand_sides, const T* factor, std::ptrdiff_t lda,
          T* b, std::ptrdiff_t ldb);

// Eigenvalues ascending into w, eigenvectors over the columns of a; LAPACK's info.
int syevd(std::ptrdiff_t n, double* a, std::ptrdiff_t lda, double* w);

}  // namespace grokrfm::blas
