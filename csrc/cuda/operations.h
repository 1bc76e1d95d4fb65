// The operations on device memory. Mathematics and costs stand in the headers of the same names one
// folder up; results and arguments are those of the CPU, but for a leading number of runs where the
// runs of one modulus share a call. All work goes onto the device's stream; see device.h for
// arenas.
#pragma once

#include <vector>

#include "../common/kernels.h"
#include "../common/views.h"
#include "../grid_round.h"
#include "device.h"

namespace grokrfm::cuda {

// How many of the active indices are neither -1 nor in [0, d). Waits for the device.
std::ptrdiff_t count_outside(Device& device, Arena& arena, ActiveIndices inputs, std::ptrdiff_t d);

template <class T>
void kernel_matrix(Device& device, Arena& arena, const KernelChoice& kernel,
                   Matrix<const T> feature_matrix, ActiveIndices inputs, const ActiveIndices* other,
                   Matrix<T> out);

template <class T>
void decision_function(Device& device, Arena& arena, const KernelChoice& kernel,
                       Matrix<const T> feature_matrix, ActiveIndices evaluation,
                       ActiveIndices train, Matrix<const T> dual_coefficients, Matrix<T> out);

// Returns LAPACK's info of the factorisation.
template <class T>
int cholesky_solve(Device& device, Arena& arena, Matrix<T> kernel_matrix,
                   Matrix<T> targets_transposed);

// The training points of one slot by their index: `order` lists the points, `chunks` (b, 3) the
// ranges [first, last) of it with the same index, as (first, last, index). Chunks of one index
// follow one another, and none is longer than `longest`. Absent indices count as index d.
struct SlotChunks {
    const std::int32_t* order;
    Matrix<const std::int32_t> chunks;
    std::ptrdiff_t longest;
};

template <class T>
void agop(Device& device, Arena& arena, const KernelChoice& kernel, Matrix<const T> feature_matrix,
          ActiveIndices train, const std::vector<SlotChunks>& slots,
          Matrix<const T> dual_coefficients, bool centred, Matrix<T> out);

// G^s of a batch of d x d matrices. Returns the first non-zero info of the eigenvalues.
template <class T>
int matrix_power(Device& device, Arena& arena, const T* matrices, std::ptrdiff_t d,
                 std::ptrdiff_t batch, double exponent, T* out);

// Square roots of a batch of positive semidefinite d x d matrices, of eigenvalues sqrt(l + floor
// ||G||). Returns how far, relatively, the traces of their squares are off at most; infinity where
// there is none, as of a matrix with eigenvalues below -floor ||G||.
double square_root(Device& device, Arena& arena, const float* matrices, std::ptrdiff_t d,
                   std::ptrdiff_t batch, double floor, float* out);

// Runs of one modulus in one sequence of launches. Arrays have a leading axis `runs`; solutions are
// (runs, columns, depth, n), run r using the first of its pairs; `ranks` (runs, p, p) is the place
// of a training pair among those of its run. The columns are the classes from first_class on, then
// the targets. GridSums become arrays on the device.
template <class T>
struct GridRuns {
    std::ptrdiff_t runs, p, classes, target_count, depth, n;
    std::int32_t first_class;
    const T *feature_matrix, *coarse, *moment;               // runs x 2p x 2p
    const std::int32_t *train_labels, *test_labels, *ranks;  // runs x p x p
    QuadraticForm form;
    T ridge;
    double tolerance, target_tolerance;
    int max_iterations;
    const double* prediction;  // runs x weights
    std::ptrdiff_t weights;
    const T* targets;  // runs x target_count x n
    T* solutions;
    T* own;                                            // runs x p x p
    T *zqz, *tz, *best;                                // runs x 2p x 2p, runs x p x p
    std::int32_t* best_class;                          // runs x p x p
    double *t_squared, *train_squares, *test_squares;  // runs
    double* products;                                  // runs x depth
    std::int32_t* iterations;                          // runs x columns
    double* residuals;                                 // runs x columns

    std::ptrdiff_t columns() const { return classes + target_count; }
};

// `budget`: bytes of device memory that a block of columns may take.
template <class T>
void grid_round(Device& device, Arena& arena, const GridRuns<T>& runs, std::size_t budget);

// The work memory of a round of one run.
template <class T>
std::size_t grid_round_bytes(std::ptrdiff_t p, std::ptrdiff_t classes, std::ptrdiff_t targets,
                             std::size_t budget);

}  // namespace grokrfm::cuda
