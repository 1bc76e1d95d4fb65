#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../network.h"
#include "adapter.h"
#include "bindings.h"

namespace grokrfm {

namespace {

// The transform R of the inputs, or nothing.
template <class T>
std::optional<Matrix<const T>> transform_view(const std::optional<py::array>& transform,
                                              std::ptrdiff_t d) {
    if (!transform) return std::nullopt;
    return matrix<const T>(*transform, "transform", d, d);
}

// Pairs of indices in [0, d), none absent.
ActiveIndices index_pairs(const py::array& inputs, std::ptrdiff_t d) {
    const auto view = matrix<const std::int32_t>(inputs, "inputs", any, 2);
    require_range(view, "inputs", "two indices in every row, from 0 to " + std::to_string(d - 1), 0,
                  d);
    return view;
}

}  // namespace

void register_network(py::module_& module) {
    using py::arg;
    module.def(
        "network_epoch",
        [](const std::string& activation, const py::array& first, const py::array& second,
           const std::vector<py::array>& moments, const py::array& inputs, const py::array& labels,
           const std::optional<py::array>& transform, double learning_rate, double weight_decay,
           double agop_penalty, double beta_mean, double beta_square, double epsilon,
           std::int64_t batch_size, std::int64_t steps, int threads) {
            require_at_least(1, threads, "threads");
            require_at_least(1, batch_size, "batch_size");
            require_at_least(0, steps, "steps");
            require_at_most(std::int64_t{1} << 53, steps, "steps");  // what a double counts to
            with_floating_type(first, "first", [&](auto zero) {
                using T = decltype(zero);
                Network<T> network{matrix<T>(first, "first"), {}};
                const std::ptrdiff_t d = network.first.rows, h = network.first.columns;
                network.second = matrix<T>(second, "second", any, h);
                const std::ptrdiff_t c = network.second.rows;
                const bool adamw = !moments.empty();
                if (adamw) {
                    if (moments.size() != 4)
                        refuse("moments", "four arrays or none", std::to_string(moments.size()));
                    network.first_mean = view<T>(moments[0], "moments", {d, h});
                    network.first_square = view<T>(moments[1], "moments", {d, h});
                    network.second_mean = view<T>(moments[2], "moments", {c, h});
                    network.second_square = view<T>(moments[3], "moments", {c, h});
                }
                const auto pairs = index_pairs(inputs, d);
                const auto targets = matrix<const std::int32_t>(labels, "labels", pairs.rows, 1);
                require_range(targets, "labels", "labels in [0, " + std::to_string(c) + ")", 0, c);
                const auto rows = transform_view<T>(transform, d);
                const Training training{activation_named(activation),
                                        adamw,
                                        learning_rate,
                                        weight_decay,
                                        agop_penalty,
                                        beta_mean,
                                        beta_square,
                                        epsilon,
                                        std::min<std::ptrdiff_t>(batch_size, pairs.rows),
                                        steps};
                without_gil([&] {
                    network_epoch<T>(network, training, pairs, targets.data,
                                     rows ? &*rows : nullptr, threads);
                });
            });
        },
        arg("activation"), arg("first").noconvert(), arg("second").noconvert(), arg("moments"),
        arg("inputs").noconvert(), arg("labels").noconvert(), arg("transform"),
        arg("learning_rate"), arg("weight_decay"), arg("agop_penalty"), arg("beta_mean"),
        arg("beta_square"), arg("epsilon"), arg("batch_size"), arg("steps"), arg("threads") = 1);
    module.def(
        "network_outputs",
        [](const std::string& activation, const py::array& first, const py::array& second,
           const py::array& inputs, const std::optional<py::array>& transform, int threads) {
            require_at_least(1, threads, "threads");
            return with_floating_type(first, "first", [&](auto zero) {
                using T = decltype(zero);
                const auto w1 = matrix<const T>(first, "first");
                const auto w2 = matrix<const T>(second, "second", any, w1.columns);
                const auto pairs = index_pairs(inputs, w1.rows);
                const auto rows = transform_view<T>(transform, w1.rows);
                const Activation phi = activation_named(activation);
                return result<T>(py::none(), pairs.rows, w2.rows, [&](Matrix<T> out) {
                    network_outputs<T>(phi, w1, w2, pairs, rows ? &*rows : nullptr, out, threads);
                });
            });
        },
        arg("activation"), arg("first").noconvert(), arg("second").noconvert(),
        arg("inputs").noconvert(), arg("transform"), arg("threads") = 1);
}

}  // namespace grokrfm
