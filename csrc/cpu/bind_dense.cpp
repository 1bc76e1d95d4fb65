// The dense operations: kernel matrix, solution, evaluation, AGOP and its power.
#include <pybind11/stl.h>

#include <optional>

#include "../agop.h"
#include "../cholesky_solve.h"
#include "../decision_function.h"
#include "../kernel_matrix.h"
#include "../kernel_product.h"
#include "../matrix_power.h"
#include "adapter.h"
#include "bindings.h"

namespace grokrfm {

void register_dense(py::module_& module) {
    using py::arg;
    module.def(
        "kernel_matrix",
        [](const py::object& kernel, const py::array& feature_matrix, const py::array& inputs,
           const std::optional<py::array>& other, const py::object& out, int threads) {
            require_at_least(1, threads, "threads");
            const KernelChoice choice = kernel_choice(kernel);
            return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto m = square<const T>(feature_matrix, "feature_matrix");
                const auto rows = active_indices(inputs, "inputs", m.rows);
                const auto columns = other ? active_indices(*other, "other", m.rows) : rows;
                return result<T>(out, rows.rows, columns.rows, [&](Matrix<T> view) {
                    kernel_matrix<T>(choice, m, rows, other ? &columns : nullptr, view, threads);
                });
            });
        },
        arg("kernel"), arg("feature_matrix").noconvert(), arg("inputs").noconvert(),
        arg("other") = py::none(), arg("out") = py::none(), arg("threads") = 1);
    module.def(
        "cholesky_solve",
        [](const py::array& kernel_matrix, const py::array& targets_transposed, int threads) {
            require_at_least(1, threads, "threads");
            return with_floating_type(kernel_matrix, "kernel_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto k = square<T>(kernel_matrix, "kernel_matrix");
                const auto y = matrix<T>(targets_transposed, "targets_transposed", any, k.rows);
                int info = 0;
                without_gil([&] { info = cholesky_solve<T>(k, y, threads); });
                return info;
            });
        },
        arg("kernel_matrix").noconvert(), arg("targets_transposed").noconvert(),
        arg("threads") = 1);
    module.def(
        "cholesky_inverse",
        [](const py::array& matrix, const py::array& inverse, int threads) {
            require_at_least(1, threads, "threads");
            return with_floating_type(matrix, "matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto k = square<T>(matrix, "matrix");
                const auto out = grokrfm::matrix<T>(inverse, "inverse", k.rows, k.rows);
                int info = 0;
                without_gil([&] { info = cholesky_inverse<T>(k, out, threads); });
                return info;
            });
        },
        arg("matrix").noconvert(), arg("inverse").noconvert(), arg("threads") = 1);
    module.def(
        "decision_function",
        [](const py::object& kernel, const py::array& feature_matrix, const py::array& evaluation,
           const py::array& train, const py::array& dual_coefficients, int threads) {
            require_at_least(1, threads, "threads");
            const KernelChoice choice = kernel_choice(kernel);
            return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto m = square<const T>(feature_matrix, "feature_matrix");
                const auto rows = active_indices(evaluation, "evaluation", m.rows);
                const auto columns = active_indices(train, "train", m.rows);
                const auto alpha =
                    matrix<const T>(dual_coefficients, "dual_coefficients", columns.rows);
                return result<T>(py::none(), rows.rows, alpha.columns, [&](Matrix<T> out) {
                    decision_function<T>(choice, m, rows, columns, alpha, out, threads);
                });
            });
        },
        arg("kernel"), arg("feature_matrix").noconvert(), arg("evaluation").noconvert(),
        arg("train").noconvert(), arg("dual_coefficients").noconvert(), arg("threads") = 1);
    module.def(
        "kernel_product",
        [](const py::object& kernel, const py::array& feature_matrix, const py::array& inputs,
           const py::array& vectors, const std::optional<py::array>& other, int threads) {
            require_at_least(1, threads, "threads");
            const KernelChoice choice = kernel_choice(kernel);
            return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto m = square<const T>(feature_matrix, "feature_matrix");
                const auto rows = active_indices(inputs, "inputs", m.rows);
                const auto columns = other ? active_indices(*other, "other", m.rows) : rows;
                const auto v = matrix<const T>(vectors, "vectors", columns.rows);
                return result<T>(py::none(), rows.rows, v.columns, [&](Matrix<T> out) {
                    kernel_product<T>(choice, m, rows, other ? &columns : nullptr, v, out, threads);
                });
            });
        },
        arg("kernel"), arg("feature_matrix").noconvert(), arg("inputs").noconvert(),
        arg("vectors").noconvert(), arg("other") = py::none(), arg("threads") = 1);
    module.def(
        "agop",
        [](const py::object& kernel, const py::array& feature_matrix, const py::array& train,
           const py::array& dual_coefficients, bool centred, int threads) {
            require_at_least(1, threads, "threads");
            const KernelChoice choice = kernel_choice(kernel);
            return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto m = square<const T>(feature_matrix, "feature_matrix");
                const auto points = active_indices(train, "train", m.rows);
                const auto alpha =
                    matrix<const T>(dual_coefficients, "dual_coefficients", points.rows);
                return result<T>(py::none(), m.rows, m.rows, [&](Matrix<T> out) {
                    agop<T>(choice, m, points, alpha, centred, out, threads);
                });
            });
        },
        arg("kernel"), arg("feature_matrix").noconvert(), arg("train").noconvert(),
        arg("dual_coefficients").noconvert(), arg("centred"), arg("threads") = 1);
    module.def(
        "matrix_power",
        [](const py::array& matrix, double exponent) {
            return with_floating_type(matrix, "matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto g = square<const T>(matrix, "matrix");
                int info = 0;
                const auto power = result<T>(py::none(), g.rows, g.rows, [&](Matrix<T> out) {
                    info = matrix_power<T>(g, exponent, out);
                });
                if (info == 0) return power;
                py::set_error(py::module_::import("numpy.linalg").attr("LinAlgError"),
                              "matrix power: the eigenvalues did not converge");
                throw py::error_already_set();
            });
        },
        arg("matrix").noconvert(), arg("exponent"));
}

}  // namespace grokrfm
