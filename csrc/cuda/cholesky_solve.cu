// cuSOLVER's factorisation and solve. The result of the factorisation is read back, since nobody
// may go on with a failed one.
#include "../cholesky_solve.h"
#include "operations.h"

namespace grokrfm::cuda {

template <class T>
int cholesky_solve(Device& device, Arena& arena, Matrix<T> kernel_matrix,
                   Matrix<T> targets_transposed) {
    const std::ptrdiff_t n = kernel_matrix.rows;
    const std::size_t bytes = device.factorise_bytes<T>(n, kernel_matrix.data);
    char* work = arena.take<char>(static_cast<std::ptrdiff_t>(bytes));
    int* info = arena.take<int>(1);
    if (arena.counting()) return 0;
    int result = 0;
    device.factorise<T>(n, kernel_matrix.data, work, bytes, info);
    device.read(info, &result, sizeof result);
    if (result == 0)
        device.solve_factorised<T>(n, targets_transposed.rows, kernel_matrix.data,
                                   targets_transposed.data, info);
    return result;
}

template int cholesky_solve(Device&, Arena&, Matrix<float>, Matrix<float>);
template int cholesky_solve(Device&, Arena&, Matrix<double>, Matrix<double>);

}  // namespace grokrfm::cuda
