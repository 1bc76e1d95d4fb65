// Active indices are on the device: whether they are in range is counted there.
#include "launch.h"
#include "operations.h"

namespace grokrfm::cuda {

std::ptrdiff_t count_outside(Device& device, Arena& arena, ActiveIndices inputs, std::ptrdiff_t d) {
    const std::ptrdiff_t size = inputs.rows * inputs.columns, rows = (size + 1023) / 1024;
    double* by_row = arena.take<double>(rows);
    double* total = arena.take<double>(1);
    if (arena.counting()) return 0;
    sum_rows<1, double>(
        device, rows, 1024,
        [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t k, Sums<double, 1>& sums) {
            const std::ptrdiff_t i = row * 1024 + k;
            if (i < size && (inputs.data[i] < -1 || inputs.data[i] >= d)) sums.value[0] += 1;
        },
        [=] GROKRFM_BODY(std::ptrdiff_t row, const Sums<double, 1>& sums) {
            by_row[row] = sums.value[0];
        });
    sum_rows<1, double>(
        device, 1, rows,
        [=] GROKRFM_BODY(std::ptrdiff_t, std::ptrdiff_t row, Sums<double, 1>& sums) {
            sums.value[0] += by_row[row];
        },
        [=] GROKRFM_BODY(std::ptrdiff_t, const Sums<double, 1>& sums) { *total = sums.value[0]; });
    double outside = 0;
    device.read(total, &outside, sizeof outside);
    return static_cast<std::ptrdiff_t>(outside);
}

}  // namespace grokrfm::cuda
