// From Python arguments to views: every check of type, shape and range that the operations rely on.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "../common/kernels.h"
#include "../common/views.h"
#include "../grid_round.h"

namespace grokrfm {

namespace py = pybind11;

inline std::string type_name(const py::array& array) {
    return py::str(static_cast<py::object>(array.dtype()));
}

inline std::string shape_text(const py::array& array) {
    return py::str(static_cast<py::object>(array.attr("shape")));
}

inline void require_matrix(const py::array& array, const char* name) {
    if (array.ndim() != 2)
        throw py::value_error(std::string(name) + ": expected a matrix, got shape " +
                              shape_text(array));
    if (!(array.flags() & py::array::c_style))
        throw py::value_error(std::string(name) + ": expected a C-contiguous array");
}

template <class T>
void require_type(const py::array& array, const char* name) {
    if (!py::isinstance<py::array_t<T>>(array))
        throw py::type_error(std::string(name) + ": expected dtype " +
                             type_name(py::array_t<T>(0)) + ", got " + type_name(array));
}

template <class T>
Matrix<const T> input(const py::array& array, const char* name) {
    require_type<T>(array, name);
    require_matrix(array, name);
    return {static_cast<const T*>(array.data()), array.shape(0), array.shape(1)};
}

template <class T>
Matrix<T> writable(py::array& array, const char* name) {
    require_type<T>(array, name);
    require_matrix(array, name);
    if (!array.writeable())
        throw py::value_error(std::string(name) + ": expected a writable array");
    return {static_cast<T*>(array.mutable_data()), array.shape(0), array.shape(1)};
}

inline void require_shape(const py::array& array, const char* name, std::ptrdiff_t rows,
                          std::ptrdiff_t columns) {
    if (array.shape(0) != rows || array.shape(1) != columns)
        throw py::value_error(std::string(name) + ": expected shape (" + std::to_string(rows) +
                              ", " + std::to_string(columns) + "), got " + shape_text(array));
}

// A result array of that shape: `out` if given, else a new one.
template <class T>
py::array result(const py::object& out, std::ptrdiff_t rows, std::ptrdiff_t columns) {
    if (out.is_none()) return py::array_t<T>({rows, columns});
    if (!py::isinstance<py::array>(out)) throw py::type_error("out: expected an array or None");
    auto array = py::reinterpret_borrow<py::array>(out);
    writable<T>(array, "out");
    require_shape(array, "out", rows, columns);
    return array;
}

// Active indices, (n, k) int32, each -1 or in [0, size).
inline ActiveIndices active_indices(const py::array& array, const char* name, std::ptrdiff_t size) {
    const Matrix<const std::int32_t> view = input<std::int32_t>(array, name);
    if (view.rows == 0 || view.columns == 0)
        throw py::value_error(std::string(name) + ": expected at least one row and one column");
    for (std::ptrdiff_t i = 0; i < view.rows * view.columns; ++i)
        if (view.data[i] < -1 || view.data[i] >= size)
            throw py::value_error(std::string(name) + ": expected indices from -1 to " +
                                  std::to_string(size - 1) + ", got " +
                                  std::to_string(view.data[i]));
    return view;
}

template <class T>
Matrix<const T> square(const py::array& array, const char* name) {
    const Matrix<const T> view = input<T>(array, name);
    require_shape(array, name, view.rows, view.rows);
    return view;
}

// The last solutions, (classes, depth, n).
template <class T>
Solutions<T> solutions_view(py::array& array, std::ptrdiff_t n) {
    require_type<T>(array, "solutions");
    if (array.ndim() != 3 || array.shape(1) < 1 || array.shape(2) != n ||
        !(array.flags() & py::array::c_style) || !array.writeable())
        throw py::value_error("solutions: expected a writable C-contiguous array of shape (c, k, " +
                              std::to_string(n) + "), got shape " + shape_text(array));
    return {static_cast<T*>(array.mutable_data()), array.shape(0), array.shape(1), n};
}

// Calls body(T{}) with the floating type of the array.
template <class Body>
auto with_floating_type(const py::array& array, const char* name, Body&& body) {
    if (py::isinstance<py::array_t<double>>(array)) return body(double{});
    if (py::isinstance<py::array_t<float>>(array)) return body(float{});
    throw py::type_error(std::string(name) + ": expected dtype float32 or float64, got " +
                         type_name(array));
}

// The Python Kernel carries name, scale and depth.
inline KernelChoice kernel_choice(const py::object& kernel) {
    return {kernel.attr("name").cast<std::string>(), kernel.attr("scale").cast<double>(),
            kernel.attr("depth").cast<int>()};
}

}  // namespace grokrfm
