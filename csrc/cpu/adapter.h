// From Python arguments to views: every check of type, shape and range that the operations rely on;
// and back to Python's arrays. With it a binding is views in, operation, result out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "../common/kernels.h"
#include "../common/views.h"
#include "interruption.h"

namespace grokrfm {

namespace py = pybind11;

constexpr std::ptrdiff_t any = -1;  // as an extent: every one will do

inline std::string type_name(const py::array& array) {
    return py::str(static_cast<py::object>(array.dtype()));
}

inline std::string shape_text(const py::array& array) {
    return py::str(static_cast<py::object>(array.attr("shape")));
}

[[noreturn]] inline void refuse(const char* name, const std::string& expected,
                                const std::string& got) {
    throw py::value_error(std::string(name) + ": expected " + expected + ", got " + got);
}

// The entries of an array of this element type and shape, writable unless T is const.
template <class T>
T* view(const py::array& array, const char* name, std::initializer_list<std::ptrdiff_t> shape) {
    using Value = std::remove_const_t<T>;
    if (!py::isinstance<py::array_t<Value>>(array))
        throw py::type_error(std::string(name) + ": expected dtype " +
                             type_name(py::array_t<Value>(0)) + ", got " + type_name(array));
    if (array.ndim() != static_cast<py::ssize_t>(shape.size()))
        refuse(name, std::to_string(shape.size()) + " dimensions", "shape " + shape_text(array));
    std::string expected;
    bool fits = true;
    for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
        const std::ptrdiff_t got = array.shape(axis), wanted = shape.begin()[axis];
        fits = fits && (wanted == any || wanted == got);
        expected += (axis > 0 ? ", " : "") + std::to_string(wanted == any ? got : wanted);
    }
    if (!fits) refuse(name, "shape (" + expected + ")", shape_text(array));
    if (!(array.flags() & py::array::c_style))
        refuse(name, "a C-contiguous array", "one of other strides");
    if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) != 0)
        refuse(name, "an aligned array", "one at an odd address");
    if (array.size() == 0) refuse(name, "at least one entry", "shape " + shape_text(array));
    if (!std::is_const_v<T> && !array.writeable())
        refuse(name, "a writable array", "one that is not");
    return static_cast<T*>(const_cast<void*>(array.data()));
}

template <class T>
Matrix<T> matrix(const py::array& array, const char* name, std::ptrdiff_t rows = any,
                 std::ptrdiff_t columns = any) {
    T* data = view<T>(array, name, {rows, columns});
    return {data, array.shape(0), array.shape(1)};
}

template <class T>
Matrix<T> square(const py::array& array, const char* name) {
    const std::ptrdiff_t rows = array.ndim() == 2 ? array.shape(0) : any;
    return matrix<T>(array, name, rows, rows);
}

// Every entry of the matrix, in [lowest, end).
inline void require_range(Matrix<const std::int32_t> view, const char* name,
                          const std::string& expected, std::ptrdiff_t lowest, std::ptrdiff_t end) {
    for (std::ptrdiff_t i = 0; i < view.rows * view.columns; ++i)
        if (view.data[i] < lowest || view.data[i] >= end)
            refuse(name, expected, std::to_string(view.data[i]));
}

// Active indices, (n, k) int32, each -1 or in [0, size).
inline ActiveIndices active_indices(const py::array& array, const char* name, std::ptrdiff_t size) {
    const auto view = matrix<const std::int32_t>(array, name);
    require_range(view, name, "indices from -1 to " + std::to_string(size - 1), -1, size);
    return view;
}

inline void require_at_least(std::int64_t least, std::int64_t value, const char* name) {
    if (value < least) refuse(name, "at least " + std::to_string(least), std::to_string(value));
}

inline void require_at_most(std::int64_t most, std::int64_t value, const char* name) {
    if (value > most) refuse(name, "at most " + std::to_string(most), std::to_string(value));
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

// Python handles signals in its main thread; elsewhere asking would only cost the GIL.
inline bool in_main_thread() {
    const auto main_thread = py::module_::import("threading").attr("main_thread")();
    return main_thread.attr("ident").cast<unsigned long>() == PyThread_get_thread_ident();
}

inline bool signal_raised() {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

// Calls body() without the GIL. Where a signal's handler raises, body is stopped half-way, and
// Python sees that exception and none of the results.
template <class Body>
void without_gil(const Body& body) {
    Operation operation(in_main_thread() ? &signal_raised : nullptr);
    try {
        const py::gil_scoped_release release;
        body();
    } catch (const Interrupted&) {
    }
    if (PyErr_Occurred()) throw py::error_already_set();
}

// The array that body(view) fills without the GIL: `out` if given, else a new one.
template <class T, class Body>
py::array result(const py::object& out, std::ptrdiff_t rows, std::ptrdiff_t columns,
                 const Body& body) {
    if (!out.is_none() && !py::isinstance<py::array>(out))
        throw py::type_error("out: expected an array or None");
    const py::array array =
        out.is_none() ? py::array_t<T>({rows, columns}) : py::reinterpret_borrow<py::array>(out);
    const auto view = matrix<T>(array, "out", rows, columns);
    without_gil([&] { body(view); });
    return array;
}

}  // namespace grokrfm
