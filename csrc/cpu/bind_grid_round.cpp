#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "../grid_round.h"
#include "adapter.h"
#include "bindings.h"

namespace grokrfm {

namespace {

constexpr std::ptrdiff_t largest = std::numeric_limits<std::int32_t>::max();

// Labels of the p x p pairs, -1 where a pair has none.
Matrix<const std::int32_t> labels_view(const py::array& labels, const char* name,
                                       std::ptrdiff_t p) {
    const auto view = matrix<const std::int32_t>(labels, name, p, p);
    require_range(view, name, "labels from -1 on", -1, largest + 1);
    return view;
}

template <class T>
py::array_t<T> square_array(const std::vector<T>& values, std::ptrdiff_t size) {
    return py::array_t<T>({size, size}, values.data());
}

}  // namespace

void register_grid_round(py::module_& module) {
    using py::arg;
    module.def(
        "grid_round",
        [](const py::array& feature_matrix, const py::tuple& form, double ridge,
           const py::array& train_labels, const py::array& test_labels, const py::array& coarse,
           const py::array& moment, double tolerance, int max_iterations,
           const std::vector<double>& prediction, const py::array& solutions, const py::array& own,
           std::int64_t first_class, const std::optional<py::array>& targets,
           double target_tolerance, int threads) {
            require_at_least(1, threads, "threads");
            require_at_least(0, max_iterations, "max_iterations");
            require_at_least(0, first_class, "first_class");
            return with_floating_type(feature_matrix, "feature_matrix", [&](auto zero) {
                using T = decltype(zero);
                const auto m = square<const T>(feature_matrix, "feature_matrix");
                const std::ptrdiff_t d = m.rows, p = d / 2;
                if (d % 2 != 0)
                    refuse("feature_matrix", "an even number of rows", shape_text(feature_matrix));
                if (form.size() != 3) refuse("form", "three numbers", std::to_string(form.size()));
                const GridProblem<T> problem{
                    m,
                    {form[0].cast<double>(), form[1].cast<double>(), form[2].cast<double>()},
                    static_cast<T>(ridge),
                    labels_view(train_labels, "train_labels", p),
                    labels_view(test_labels, "test_labels", p),
                    matrix<const T>(coarse, "coarse", d, d),
                    matrix<const T>(moment, "moment", d, d),
                    tolerance,
                    max_iterations,
                    prediction};
                const std::ptrdiff_t n =
                    std::count_if(problem.train_labels.data, problem.train_labels.data + p * p,
                                  [](std::int32_t label) { return label >= 0; });
                T* const data = view<T>(solutions, "solutions", {any, any, n});
                const Solutions<T> last{data, solutions.shape(0), solutions.shape(1), n};
                const auto dense = targets ? matrix<const T>(*targets, "targets", any, n)
                                           : Matrix<const T>{nullptr, 0, n};
                if (dense.rows > last.columns)
                    refuse("targets", "at most " + std::to_string(last.columns) + " rows",
                           std::to_string(dense.rows));
                require_at_most(largest - last.columns, first_class, "first_class");
                if (static_cast<std::ptrdiff_t>(prediction.size()) > last.depth)
                    refuse("prediction", "at most " + std::to_string(last.depth) + " weights",
                           std::to_string(prediction.size()));
                const auto own_view = matrix<T>(own, "own", p, p);
                py::array_t<std::int32_t> iterations(last.columns);
                py::array_t<double> residuals(last.columns);
                auto* counts = iterations.mutable_data();
                auto* values = residuals.mutable_data();
                GridSums<T> sums;
                without_gil([&] {
                    sums = grid_round<T>(problem, static_cast<std::int32_t>(first_class),
                                         Targets<T>{dense, target_tolerance}, last, own_view,
                                         counts, values, threads);
                });
                return py::dict(
                    arg("zqz") = square_array(sums.zqz, d), arg("tz") = square_array(sums.tz, d),
                    arg("t_squared") = sums.t_squared, arg("best") = square_array(sums.best, p),
                    arg("best_class") = square_array(sums.best_class, p),
                    arg("train_squares") = sums.train_squares,
                    arg("test_squares") = sums.test_squares,
                    arg("products") = py::array_t<double>(last.depth, sums.products.data()),
                    arg("iterations") = iterations, arg("residuals") = residuals);
            });
        },
        arg("feature_matrix").noconvert(), arg("form"), arg("ridge"),
        arg("train_labels").noconvert(), arg("test_labels").noconvert(), arg("coarse").noconvert(),
        arg("moment").noconvert(), arg("tolerance"), arg("max_iterations"), arg("prediction"),
        arg("solutions").noconvert(), arg("own").noconvert(), arg("first_class") = 0,
        arg("targets") = py::none(), arg("target_tolerance") = 0.0, arg("threads") = 1);
}

}  // namespace grokrfm
