// From Python arrays on the device to views. An array is whatever offers the array interface, as
// CuPy's arrays do: the pointer, shape and dtype that stand there, C-contiguous.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "../common/views.h"
#include "device.h"

namespace grokrfm::cuda {

namespace py = pybind11;

#if defined(GROKRFM_EMULATED)
constexpr const char *interface_name = "__array_interface__", *place = "in host memory";
#else
constexpr const char *interface_name = "__cuda_array_interface__", *place = "on the GPU";
#endif

template <class T>
constexpr const char* type_code = std::is_same_v<T, double>         ? "<f8"
                                  : std::is_same_v<T, float>        ? "<f4"
                                  : std::is_same_v<T, std::int32_t> ? "<i4"
                                                                    : "|u1";

struct Array {
    void* data;
    std::vector<std::ptrdiff_t> shape;
    std::string type;
    bool read_only;
};

inline std::string shape_text(const std::vector<std::ptrdiff_t>& shape) {
    std::string text = "(";
    for (const std::ptrdiff_t size : shape)
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + (shape.size() == 1 ? ",)" : ")");
}

inline Array array_of(const py::object& object, const std::string& name) {
    if (!py::hasattr(object, interface_name))
        throw py::type_error(name + ": expected an array " + place + ", got " +
                             py::cast<std::string>(py::str(py::type::of(object).attr("__name__"))));
    const auto description = py::cast<py::dict>(object.attr(interface_name));
    const auto data = py::cast<py::tuple>(description["data"]);
    Array array{reinterpret_cast<void*>(py::cast<std::uintptr_t>(data[0])),
                {},
                py::cast<std::string>(description["typestr"]),
                py::cast<bool>(data[1])};
    std::ptrdiff_t size = 1;
    for (const auto extent : py::cast<py::tuple>(description["shape"])) {
        array.shape.push_back(py::cast<std::ptrdiff_t>(extent));
        size *= array.shape.back();
    }
    const py::object strides = description.contains("strides")
                                   ? py::reinterpret_borrow<py::object>(description["strides"])
                                   : py::none();
    if (strides.is_none() || size == 0) return array;
    auto expected = static_cast<std::ptrdiff_t>(std::stoi(array.type.substr(2)));
    for (std::size_t axis = array.shape.size(); axis-- > 0; expected *= array.shape[axis])
        if (array.shape[axis] > 1 &&
            py::cast<std::ptrdiff_t>(py::cast<py::tuple>(strides)[axis]) != expected)
            throw py::value_error(name + ": expected a C-contiguous array");
    return array;
}

// The data of an array of that type and shape; an extent of -1 may be anything.
template <class T>
T* data_of(const Array& array, const std::string& name, const std::vector<std::ptrdiff_t>& shape) {
    using Value = std::remove_const_t<T>;
    if (array.type != type_code<Value>)
        throw py::type_error(name + ": expected type " + type_code<Value> + ", got " + array.type);
    bool fits = array.shape.size() == shape.size();
    for (std::size_t axis = 0; fits && axis < shape.size(); ++axis)
        fits = shape[axis] < 0 || shape[axis] == array.shape[axis];
    if (!fits)
        throw py::value_error(name + ": expected shape " + shape_text(shape) + ", got " +
                              shape_text(array.shape));
    if (!std::is_const_v<T> && array.read_only)
        throw py::value_error(name + ": expected a writable array");
    return static_cast<T*>(array.data);
}

template <class T>
T* data_of(const py::object& object, const std::string& name,
           const std::vector<std::ptrdiff_t>& shape) {
    return data_of<T>(array_of(object, name), name, shape);
}

template <class T>
Matrix<T> matrix_of(const py::object& object, const std::string& name, std::ptrdiff_t rows = -1,
                    std::ptrdiff_t columns = -1) {
    const Array array = array_of(object, name);
    T* data = data_of<T>(array, name, {rows, columns});
    return {data, array.shape[0], array.shape[1]};
}

template <class T>
Matrix<const T> square_of(const py::object& object, const std::string& name) {
    const auto matrix = matrix_of<const T>(object, name);
    if (matrix.rows != matrix.columns)
        throw py::value_error(name + ": expected a square matrix, got shape " +
                              shape_text({matrix.rows, matrix.columns}));
    return matrix;
}

// Calls body(T{}) with the floating type of the array.
template <class Body>
auto with_floating_type(const py::object& object, const std::string& name, Body&& body) {
    const Array array = array_of(object, name);
    if (array.type == type_code<double>) return body(double{});
    if (array.type == type_code<float>) return body(float{});
    throw py::type_error(name + ": expected type <f4 or <f8, got " + array.type);
}

// Where an operation runs: the device, the stream, and a callable that returns an array of so many
// bytes of its memory.
struct Place {
    Device& device;
    std::uintptr_t stream;
    py::object allocate;
};

inline void check_zones([[maybe_unused]] const Arena& arena) {
#if defined(GROKRFM_EMULATED)
    if (!arena.counting() && !arena.is_intact())
        throw std::logic_error("an operation wrote beyond a part of its memory");
#endif
}

// Runs body(arena) twice: to count the memory it takes, and with it. The GIL is released meanwhile.
template <class Body>
auto run(const Place& at, const Body& body) {
    const auto locked = [&](Arena& arena) {
        const py::gil_scoped_release release;
        const std::lock_guard<std::mutex> lock(at.device.mutex);
        at.device.use_stream(at.stream);
        if constexpr (std::is_void_v<decltype(body(arena))>) {
            body(arena);
            check_zones(arena);
        } else {
            const auto result = body(arena);
            check_zones(arena);
            return result;
        }
    };
    Arena count;
    locked(count);
    const std::size_t bytes = std::max<std::size_t>(count.used(), 1);
    const py::object memory = at.allocate(bytes);
    Arena arena(data_of<std::uint8_t>(memory, "workspace", {static_cast<std::ptrdiff_t>(bytes)}),
                bytes);
    return locked(arena);
}

}  // namespace grokrfm::cuda
