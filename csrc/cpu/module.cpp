// grokrfm._cpu: the bindings. Each takes views of its arguments, releases the GIL, runs the
// operation and returns the result. Documentation for users stands in python/grokrfm/cpp.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "../agop.h"
#include "../cholesky_solve.h"
#include "../decision_function.h"
#include "../grid_round.h"
#include "../kernel_matrix.h"
#include "../matrix_power.h"
#include "../network.h"
#include "adapter.h"
#include "loops.h"
#include "scipy_routines.h"

namespace grokrfm {
namespace {

py::array kernel_matrix_binding(const py::object& kernel, const py::array& feature_matrix,
                                const py::array& inputs, const py::object& other,
                                const py::object& out, int threads) {
    const KernelChoice choice = kernel_choice(kernel);
    return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square<T>(feature_matrix, "feature_matrix");
        const auto rows = active_indices(inputs, "inputs", m.rows);
        auto columns = rows;
        if (!other.is_none()) columns = active_indices(py::cast<py::array>(other), "other", m.rows);
        py::array array = result<T>(out, rows.rows, columns.rows);
        const auto view = writable<T>(array, "out");
        const bool symmetric = other.is_none();
        {
            const py::gil_scoped_release release;
            kernel_matrix<T>(choice, m, rows, symmetric ? nullptr : &columns, view, threads);
        }
        return array;
    });
}

py::array decision_function_binding(const py::object& kernel, const py::array& feature_matrix,
                                    const py::array& evaluation, const py::array& train,
                                    const py::array& dual_coefficients, int threads) {
    const KernelChoice choice = kernel_choice(kernel);
    return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square<T>(feature_matrix, "feature_matrix");
        const auto rows = active_indices(evaluation, "evaluation", m.rows);
        const auto columns = active_indices(train, "train", m.rows);
        const auto alpha = input<T>(dual_coefficients, "dual_coefficients");
        require_shape(dual_coefficients, "dual_coefficients", columns.rows, alpha.columns);
        py::array array = result<T>(py::none(), rows.rows, alpha.columns);
        const auto view = writable<T>(array, "out");
        {
            const py::gil_scoped_release release;
            decision_function<T>(choice, m, rows, columns, alpha, view, threads);
        }
        return array;
    });
}

py::array agop_binding(const py::object& kernel, const py::array& feature_matrix,
                       const py::array& train, const py::array& dual_coefficients, bool centred,
                       int threads) {
    const KernelChoice choice = kernel_choice(kernel);
    return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square<T>(feature_matrix, "feature_matrix");
        const auto points = active_indices(train, "train", m.rows);
        const auto alpha = input<T>(dual_coefficients, "dual_coefficients");
        require_shape(dual_coefficients, "dual_coefficients", points.rows, alpha.columns);
        py::array array = result<T>(py::none(), m.rows, m.rows);
        const auto view = writable<T>(array, "out");
        {
            const py::gil_scoped_release release;
            agop<T>(choice, m, points, alpha, centred, view, threads);
        }
        return array;
    });
}

int cholesky_solve_binding(py::array& kernel_matrix, py::array& targets_transposed, int threads) {
    return with_floating_type(kernel_matrix, "kernel_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto k = writable<T>(kernel_matrix, "kernel_matrix");
        require_shape(kernel_matrix, "kernel_matrix", k.rows, k.rows);
        const auto y = writable<T>(targets_transposed, "targets_transposed");
        require_shape(targets_transposed, "targets_transposed", y.rows, k.rows);
        const py::gil_scoped_release release;
        return cholesky_solve<T>(k, y, threads);
    });
}

py::array matrix_power_binding(const py::array& matrix, double exponent) {
    return with_floating_type(matrix, "matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto g = square<T>(matrix, "matrix");
        py::array array = result<T>(py::none(), g.rows, g.rows);
        const auto view = writable<T>(array, "out");
        int info = 0;
        {
            const py::gil_scoped_release release;
            info = matrix_power<T>(g, exponent, view);
        }
        if (info != 0) {
            py::set_error(py::module_::import("numpy.linalg").attr("LinAlgError"),
                          "matrix power: the eigenvalues did not converge");
            throw py::error_already_set();
        }
        return array;
    });
}

py::dict grid_round_binding(const py::array& feature_matrix, const py::tuple& form, double ridge,
                            const py::array& train_labels, const py::array& test_labels,
                            const py::array& coarse, const py::array& moment, double tolerance,
                            int max_iterations, const std::vector<double>& prediction,
                            py::array& solutions, py::array& own, std::int32_t first_class,
                            int threads) {
    return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square<T>(feature_matrix, "feature_matrix");
        const std::ptrdiff_t d = m.rows, p = d / 2;
        const auto train = input<std::int32_t>(train_labels, "train_labels");
        const auto test = input<std::int32_t>(test_labels, "test_labels");
        const auto own_view = writable<T>(own, "own");
        require_shape(train_labels, "train_labels", p, p);
        require_shape(test_labels, "test_labels", p, p);
        require_shape(coarse, "coarse", d, d);
        require_shape(moment, "moment", d, d);
        require_shape(own, "own", p, p);
        const std::ptrdiff_t n = std::count_if(train.data, train.data + p * p,
                                               [](std::int32_t label) { return label >= 0; });
        const auto last = solutions_view<T>(solutions, n);
        if (static_cast<std::ptrdiff_t>(prediction.size()) > last.depth)
            throw py::value_error("prediction: expected at most " + std::to_string(last.depth) +
                                  " weights, got " + std::to_string(prediction.size()));
        const GridProblem<T> problem{
            m,
            {form[0].cast<double>(), form[1].cast<double>(), form[2].cast<double>()},
            static_cast<T>(ridge),
            train,
            test,
            square<T>(coarse, "coarse"),
            square<T>(moment, "moment"),
            tolerance,
            max_iterations,
            prediction};
        py::array_t<std::int32_t> iterations(last.classes);
        py::array_t<double> residuals(last.classes);
        GridSums<T> sums;
        {
            auto* counts = iterations.mutable_data();
            auto* values = residuals.mutable_data();
            const py::gil_scoped_release release;
            sums = grid_round<T>(problem, first_class, last, own_view, counts, values, threads);
        }
        const auto matrix = [](const auto& values, std::ptrdiff_t size) {
            using Value = typename std::decay_t<decltype(values)>::value_type;
            return py::array_t<Value>({size, size}, values.data());
        };
        using py::arg;
        return py::dict(arg("zqz") = matrix(sums.zqz, d), arg("tz") = matrix(sums.tz, d),
                        arg("t_squared") = sums.t_squared, arg("best") = matrix(sums.best, p),
                        arg("best_class") = matrix(sums.best_class, p),
                        arg("train_squares") = sums.train_squares,
                        arg("test_squares") = sums.test_squares,
                        arg("products") = py::array_t<double>(last.depth, sums.products.data()),
                        arg("iterations") = iterations, arg("residuals") = residuals);
    });
}

// The transform R of the inputs, or nothing.
template <class T>
std::optional<Matrix<const T>> transform_view(const py::object& transform, std::ptrdiff_t d) {
    if (transform.is_none()) return std::nullopt;
    const auto array = py::cast<py::array>(transform);
    const auto view = input<T>(array, "transform");
    require_shape(array, "transform", d, d);
    return view;
}

// Pairs of indices in [0, d), none absent.
ActiveIndices index_pairs(const py::array& inputs, std::ptrdiff_t d) {
    const auto view = active_indices(inputs, "inputs", d);
    require_shape(inputs, "inputs", view.rows, 2);
    if (std::find(view.data, view.data + 2 * view.rows, -1) != view.data + 2 * view.rows)
        throw py::value_error("inputs: expected two indices in every row, got -1");
    return view;
}

void network_epoch_binding(const std::string& activation, py::array& first, py::array& second,
                           std::vector<py::array>& moments, const py::array& inputs,
                           const py::array& labels, const py::object& transform,
                           double learning_rate, double weight_decay, double agop_penalty,
                           double beta_mean, double beta_square, double epsilon,
                           std::ptrdiff_t batch_size, std::ptrdiff_t steps, int threads) {
    with_floating_type(first, "first", [&](auto zero) {
        using T = decltype(zero);
        Network<T> network{writable<T>(first, "first"), writable<T>(second, "second")};
        const std::ptrdiff_t d = network.first.rows, h = network.first.columns;
        require_shape(second, "second", network.second.rows, h);
        if (!moments.empty()) {
            if (moments.size() != 4)
                throw py::value_error("moments: expected four arrays or none, got " +
                                      std::to_string(moments.size()));
            for (std::size_t k = 0; k < 4; ++k)
                require_shape(moments[k], "moments", k < 2 ? d : network.second.rows, h);
            network.first_mean = writable<T>(moments[0], "moments").data;
            network.first_square = writable<T>(moments[1], "moments").data;
            network.second_mean = writable<T>(moments[2], "moments").data;
            network.second_square = writable<T>(moments[3], "moments").data;
        }
        const auto pairs = index_pairs(inputs, d);
        const auto targets = input<std::int32_t>(labels, "labels");
        require_shape(labels, "labels", pairs.rows, 1);
        for (std::ptrdiff_t i = 0; i < pairs.rows; ++i)
            if (targets.data[i] < 0 || targets.data[i] >= network.second.rows)
                throw py::value_error("labels: expected labels in [0, " +
                                      std::to_string(network.second.rows) + "), got " +
                                      std::to_string(targets.data[i]));
        if (batch_size < 1) throw py::value_error("batch_size: expected at least 1");
        const auto rows = transform_view<T>(transform, d);
        const Training training{activation_named(activation),
                                !moments.empty(),
                                learning_rate,
                                weight_decay,
                                agop_penalty,
                                beta_mean,
                                beta_square,
                                epsilon,
                                std::min(batch_size, pairs.rows),
                                steps};
        const py::gil_scoped_release release;
        network_epoch<T>(network, training, pairs, targets.data, rows ? &*rows : nullptr, threads);
    });
}

py::array network_outputs_binding(const std::string& activation, const py::array& first,
                                  const py::array& second, const py::array& inputs,
                                  const py::object& transform, int threads) {
    return with_floating_type(first, "first", [&](auto zero) {
        using T = decltype(zero);
        const auto w1 = input<T>(first, "first"), w2 = input<T>(second, "second");
        require_shape(second, "second", w2.rows, w1.columns);
        const auto pairs = index_pairs(inputs, w1.rows);
        const auto rows = transform_view<T>(transform, w1.rows);
        const Activation phi = activation_named(activation);
        py::array array = result<T>(py::none(), pairs.rows, w2.rows);
        const auto view = writable<T>(array, "out");
        {
            const py::gil_scoped_release release;
            network_outputs<T>(phi, w1, w2, pairs, rows ? &*rows : nullptr, view, threads);
        }
        return array;
    });
}

py::dict build_info() {
    py::dict info;
    info["compiler"] = GROKRFM_COMPILER;
    info["build_type"] = GROKRFM_BUILD_TYPE;
    info["instruction_sets"] = py::tuple(py::cast(instruction_sets()));
    info["instruction_set_in_use"] = instruction_set_in_use();
    info["hardware_threads"] = std::thread::hardware_concurrency();
    return info;
}

}  // namespace
}  // namespace grokrfm

PYBIND11_MODULE(_cpu, m) {
    using namespace grokrfm;
    using py::arg;
    m.doc() = "Compiled operations of grokrfm for the CPU.";
    bind_blas();
    // A lower instruction set than the best, for tests.
    const char* wanted = std::getenv("GROKRFM_INSTRUCTION_SET");
    use_instruction_set(wanted == nullptr ? "" : wanted);
    m.def("kernel_matrix", &kernel_matrix_binding, arg("kernel"), arg("feature_matrix").noconvert(),
          arg("inputs").noconvert(), arg("other") = py::none(), arg("out") = py::none(),
          arg("threads") = 1);
    m.def("decision_function", &decision_function_binding, arg("kernel"),
          arg("feature_matrix").noconvert(), arg("evaluation").noconvert(),
          arg("train").noconvert(), arg("dual_coefficients").noconvert(), arg("threads") = 1);
    m.def("agop", &agop_binding, arg("kernel"), arg("feature_matrix").noconvert(),
          arg("train").noconvert(), arg("dual_coefficients").noconvert(), arg("centred"),
          arg("threads") = 1);
    m.def("cholesky_solve", &cholesky_solve_binding, arg("kernel_matrix").noconvert(),
          arg("targets_transposed").noconvert(), arg("threads") = 1);
    m.def("matrix_power", &matrix_power_binding, arg("matrix").noconvert(), arg("exponent"));
    m.def("grid_round", &grid_round_binding, arg("feature_matrix").noconvert(), arg("form"),
          arg("ridge"), arg("train_labels").noconvert(), arg("test_labels").noconvert(),
          arg("coarse").noconvert(), arg("moment").noconvert(), arg("tolerance"),
          arg("max_iterations"), arg("prediction"), arg("solutions").noconvert(),
          arg("own").noconvert(), arg("first_class") = 0, arg("threads") = 1);
    m.def("network_epoch", &network_epoch_binding, arg("activation"), arg("first").noconvert(),
          arg("second").noconvert(), arg("moments"), arg("inputs").noconvert(),
          arg("labels").noconvert(), arg("transform"), arg("learning_rate"), arg("weight_decay"),
          arg("agop_penalty"), arg("beta_mean"), arg("beta_square"), arg("epsilon"),
          arg("batch_size"), arg("steps"), arg("threads") = 1);
    m.def("network_outputs", &network_outputs_binding, arg("activation"), arg("first").noconvert(),
          arg("second").noconvert(), arg("inputs").noconvert(), arg("transform"),
          arg("threads") = 1);
    m.def("build_info", &build_info);
}
