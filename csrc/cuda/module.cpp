// grokrfm._cuda: the bindings. Each takes views of arrays on the device, the results' among them,
// and puts the operation onto the stream. Documentation for users stands in
// python/grokrfm/operations/cuda.py. With GROKRFM_EMULATED the same on NumPy arrays, for tests
// without a GPU.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "adapter.h"
#include "operations.h"

#if defined(GROKRFM_EMULATED)
#include "../cpu/scipy_routines.h"
#endif

namespace grokrfm::cuda {
namespace {

// The Python Kernel carries name, scale and depth.
KernelChoice kernel_choice(const py::object& kernel) {
    return {py::cast<std::string>(kernel.attr("name")), py::cast<double>(kernel.attr("scale")),
            py::cast<int>(kernel.attr("depth"))};
}

ActiveIndices active_indices(const Place& at, const py::object& inputs, const std::string& name,
                             std::ptrdiff_t d) {
    const ActiveIndices view = matrix_of<const std::int32_t>(inputs, name);
    if (view.rows == 0 || view.columns == 0)
        throw py::value_error(name + ": expected at least one row and one column");
    const std::ptrdiff_t outside =
        run(at, [&](Arena& arena) { return count_outside(at.device, arena, view, d); });
    if (outside != 0)
        throw py::value_error(name + ": expected indices from -1 to " + std::to_string(d - 1) +
                              ", got " + std::to_string(outside) + " others");
    return view;
}

void kernel_matrix_binding(const Place& at, const py::object& kernel,
                           const py::object& feature_matrix, const py::object& inputs,
                           const py::object& other, const py::object& out) {
    const KernelChoice choice = kernel_choice(kernel);
    with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square_of<T>(feature_matrix, "feature_matrix");
        const ActiveIndices rows = active_indices(at, inputs, "inputs", m.rows);
        const bool symmetric = other.is_none();
        const ActiveIndices columns = symmetric ? rows : active_indices(at, other, "other", m.rows);
        const auto result = matrix_of<T>(out, "out", rows.rows, columns.rows);
        run(at, [&](Arena& arena) {
            kernel_matrix<T>(at.device, arena, choice, m, rows, symmetric ? nullptr : &columns,
                             result);
        });
    });
}

void decision_function_binding(const Place& at, const py::object& kernel,
                               const py::object& feature_matrix, const py::object& evaluation,
                               const py::object& train, const py::object& dual_coefficients,
                               const py::object& out) {
    const KernelChoice choice = kernel_choice(kernel);
    with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square_of<T>(feature_matrix, "feature_matrix");
        const ActiveIndices rows = active_indices(at, evaluation, "evaluation", m.rows);
        const ActiveIndices columns = active_indices(at, train, "train", m.rows);
        const auto alpha = matrix_of<const T>(dual_coefficients, "dual_coefficients", columns.rows);
        const auto result = matrix_of<T>(out, "out", rows.rows, alpha.columns);
        run(at, [&](Arena& arena) {
            decision_function<T>(at.device, arena, choice, m, rows, columns, alpha, result);
        });
    });
}

int cholesky_solve_binding(const Place& at, const py::object& kernel_matrix,
                           const py::object& targets_transposed) {
    return with_floating_type(kernel_matrix, "kernel_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto view = square_of<T>(kernel_matrix, "kernel_matrix");
        const auto k = matrix_of<T>(kernel_matrix, "kernel_matrix");
        const auto y = matrix_of<T>(targets_transposed, "targets_transposed", -1, view.rows);
        return run(at, [&](Arena& arena) { return cholesky_solve<T>(at.device, arena, k, y); });
    });
}

// slots: a sequence of (order, chunks, longest).
void agop_binding(const Place& at, const py::object& kernel, const py::object& feature_matrix,
                  const py::object& train, const py::sequence& slots,
                  const py::object& dual_coefficients, bool centred, const py::object& out) {
    const KernelChoice choice = kernel_choice(kernel);
    with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const auto m = square_of<T>(feature_matrix, "feature_matrix");
        const ActiveIndices points = active_indices(at, train, "train", m.rows);
        std::vector<SlotChunks> chunks;
        for (const auto slot : slots) {
            const auto parts = py::cast<py::tuple>(slot);
            chunks.push_back({data_of<const std::int32_t>(parts[0], "order", {points.rows}),
                              matrix_of<const std::int32_t>(parts[1], "chunks", -1, 3),
                              py::cast<std::ptrdiff_t>(parts[2])});
        }
        const auto alpha = matrix_of<const T>(dual_coefficients, "dual_coefficients", points.rows);
        const auto result = matrix_of<T>(out, "out", m.rows, m.rows);
        run(at, [&](Arena& arena) {
            agop<T>(at.device, arena, choice, m, points, chunks, alpha, centred, result);
        });
    });
}

// matrices, out: (runs, d, d).
int matrix_power_binding(const Place& at, const py::object& matrices, double exponent,
                         const py::object& out) {
    return with_floating_type(matrices, "matrices", [&](auto zero) {
        using T = decltype(zero);
        const Array array = array_of(matrices, "matrices");
        const auto* data = data_of<const T>(array, "matrices", {-1, -1, -1});
        const std::ptrdiff_t batch = array.shape[0], d = array.shape[1];
        data_of<const T>(array, "matrices", {batch, d, d});
        T* result = data_of<T>(out, "out", {batch, d, d});
        return run(at, [&](Arena& arena) {
            return matrix_power<T>(at.device, arena, data, d, batch, exponent, result);
        });
    });
}

// matrices, out: (runs, d, d), float32.
double square_root_binding(const Place& at, const py::object& matrices, double floor,
                           const py::object& out) {
    const Array array = array_of(matrices, "matrices");
    const auto* data = data_of<const float>(array, "matrices", {-1, -1, -1});
    const std::ptrdiff_t batch = array.shape[0], d = array.shape[1];
    data_of<const float>(array, "matrices", {batch, d, d});
    float* result = data_of<float>(out, "out", {batch, d, d});
    return run(at, [&](Arena& arena) {
        return square_root(at.device, arena, data, d, batch, floor, result);
    });
}

// The fields of GridRuns by name; arrays have a leading axis `runs`.
void grid_round_binding(const Place& at, std::size_t budget, const py::object& feature_matrix,
                        const py::object& coarse, const py::object& moment,
                        const py::object& train_labels, const py::object& test_labels,
                        const py::object& ranks, const py::tuple& form, double ridge,
                        double tolerance, int max_iterations, const py::object& prediction,
                        const py::object& targets, double target_tolerance,
                        const py::object& solutions, std::int32_t first_class,
                        const py::object& own, const py::object& zqz, const py::object& tz,
                        const py::object& best, const py::object& best_class,
                        const py::object& t_squared, const py::object& train_squares,
                        const py::object& test_squares, const py::object& products,
                        const py::object& iterations, const py::object& residuals) {
    with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
        using T = decltype(zero);
        const Array last = array_of(solutions, "solutions");
        T* last_data = data_of<T>(last, "solutions", {-1, -1, -1, -1});
        const std::ptrdiff_t r = last.shape[0], c = last.shape[1], k = last.shape[2];
        const std::ptrdiff_t n = last.shape[3];
        const Array features = array_of(feature_matrix, "feature_matrix");
        data_of<const T>(features, "feature_matrix", {r, -1, -1});
        const std::ptrdiff_t d = features.shape[1], p = d / 2;
        check_extents(d, c);
        const Array weights = array_of(prediction, "prediction");
        const auto* weights_data = data_of<const double>(weights, "prediction", {r, -1});
        if (k < 1 || k > 8 || weights.shape[1] > k)
            throw py::value_error(
                "solutions: expected 1 to 8 a class and no fewer than weights, got " +
                std::to_string(k) + " for " + std::to_string(weights.shape[1]) + " weights");
        const Array dense = targets.is_none() ? Array{nullptr, {r, 0, n}, type_code<T>, true}
                                              : array_of(targets, "targets");
        const auto* dense_data = data_of<const T>(dense, "targets", {r, -1, n});
        if (dense.shape[1] > c)
            throw py::value_error("targets: expected at most " + std::to_string(c) +
                                  " a run, got " + std::to_string(dense.shape[1]));
        const std::vector<std::ptrdiff_t> matrices{r, d, d}, pairs{r, p, p};
        const GridRuns<T> runs{
            r,
            p,
            c - dense.shape[1],
            dense.shape[1],
            k,
            n,
            first_class,
            data_of<const T>(features, "feature_matrix", matrices),
            data_of<const T>(coarse, "coarse", matrices),
            data_of<const T>(moment, "moment", matrices),
            data_of<const std::int32_t>(train_labels, "train_labels", pairs),
            data_of<const std::int32_t>(test_labels, "test_labels", pairs),
            data_of<const std::int32_t>(ranks, "ranks", pairs),
            {py::cast<double>(form[0]), py::cast<double>(form[1]), py::cast<double>(form[2])},
            static_cast<T>(ridge),
            tolerance,
            target_tolerance,
            max_iterations,
            weights_data,
            weights.shape[1],
            dense_data,
            last_data,
            data_of<T>(own, "own", pairs),
            data_of<T>(zqz, "zqz", matrices),
            data_of<T>(tz, "tz", matrices),
            data_of<T>(best, "best", pairs),
            data_of<std::int32_t>(best_class, "best_class", pairs),
            data_of<double>(t_squared, "t_squared", {r}),
            data_of<double>(train_squares, "train_squares", {r}),
            data_of<double>(test_squares, "test_squares", {r}),
            data_of<double>(products, "products", {r, k}),
            data_of<std::int32_t>(iterations, "iterations", {r, c}),
            data_of<double>(residuals, "residuals", {r, c})};
        run(at, [&](Arena& arena) { grid_round<T>(at.device, arena, runs, budget); });
    });
}

std::size_t grid_round_bytes_binding(std::ptrdiff_t p, std::ptrdiff_t classes,
                                     std::ptrdiff_t targets, int itemsize, std::size_t budget) {
    return itemsize == sizeof(float) ? grid_round_bytes<float>(p, classes, targets, budget)
                                     : grid_round_bytes<double>(p, classes, targets, budget);
}

py::dict build_info() {
    py::dict info;
    info["cuda_compiler"] = GROKRFM_CUDA_COMPILER;
    info["cuda_architectures"] = GROKRFM_CUDA_ARCHITECTURES;
    return info;
}

}  // namespace
}  // namespace grokrfm::cuda

PYBIND11_MODULE(GROKRFM_MODULE, m) {
    using namespace grokrfm::cuda;
    using py::arg;
    m.doc() = "Compiled operations of grokrfm for NVIDIA GPUs.";
#if defined(GROKRFM_EMULATED)
    grokrfm::bind_blas();
#endif
    m.def("device_count", &Device::count);
    m.def("build_info", &build_info);
    // Local to this module: the host build of the tests has classes of the same names.
    py::class_<Device>(m, "Device", py::module_local())
        .def(py::init<const std::map<std::string, std::uintptr_t>&, bool>(), arg("addresses"),
             arg("tf32"))
        .def_static("routine_names", &Device::routine_names);
    py::class_<Place>(m, "Place", py::module_local())
        .def(py::init<Device&, std::uintptr_t, py::object>(), arg("device"), arg("stream"),
             arg("allocate"), py::keep_alive<1, 2>());
    m.def("kernel_matrix", &kernel_matrix_binding, arg("at"), arg("kernel"), arg("feature_matrix"),
          arg("inputs"), arg("other"), arg("out"));
    m.def("decision_function", &decision_function_binding, arg("at"), arg("kernel"),
          arg("feature_matrix"), arg("evaluation"), arg("train"), arg("dual_coefficients"),
          arg("out"));
    m.def("cholesky_solve", &cholesky_solve_binding, arg("at"), arg("kernel_matrix"),
          arg("targets_transposed"));
    m.def("agop", &agop_binding, arg("at"), arg("kernel"), arg("feature_matrix"), arg("train"),
          arg("slots"), arg("dual_coefficients"), arg("centred"), arg("out"));
    m.def("matrix_power", &matrix_power_binding, arg("at"), arg("matrices"), arg("exponent"),
          arg("out"));
    m.def("square_root", &square_root_binding, arg("at"), arg("matrices"), arg("floor"),
          arg("out"));
    m.def("grid_round", &grid_round_binding, arg("at"), arg("budget"), arg("feature_matrix"),
          arg("coarse"), arg("moment"), arg("train_labels"), arg("test_labels"), arg("ranks"),
          arg("form"), arg("ridge"), arg("tolerance"), arg("max_iterations"), arg("prediction"),
          arg("targets"), arg("target_tolerance"), arg("solutions"), arg("first_class"), arg("own"),
          arg("zqz"), arg("tz"), arg("best"), arg("best_class"), arg("t_squared"),
          arg("train_squares"), arg("test_squares"), arg("products"), arg("iterations"),
          arg("residuals"));
    m.def("grid_round_bytes", &grid_round_bytes_binding, arg("p"), arg("classes"), arg("targets"),
          arg("itemsize"), arg("budget"));
}
