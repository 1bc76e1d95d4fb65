// Fills the tables of blas.h from SciPy, once, when a module is imported.
#pragma once

#include <pybind11/pybind11.h>

#include <sstream>
#include <string>
#include <type_traits>

#include "blas.h"

namespace grokrfm {

namespace py = pybind11;

// Whether a C signature, as SciPy writes it, is one of this function type: of its integers above
// all, which are 64 bits wide, under other names, in some builds. Real types go by SciPy's names.
template <class... Parameters>
bool has_signature(void (*)(Parameters*...), const std::string& text) {
    const std::size_t open = text.find('('), close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos) return false;
    std::istringstream list(text.substr(open + 1, close - open - 1));
    const auto next_is = [&](const std::string& type) {
        std::string token;
        std::getline(list >> std::ws, token, ',');
        const bool other = token.empty() || token == "int *" || token == "char *";
        return type.empty() ? !other : token == type;
    };
    const auto name_of = [](auto* parameter) {
        using Type = std::remove_pointer_t<decltype(parameter)>;
        return std::is_same_v<Type, int> ? "int *" : std::is_same_v<Type, char> ? "char *" : "";
    };
    return (next_is(name_of(static_cast<Parameters*>(nullptr))) && ...) && list.eof();
}

// The pointer behind scipy.linalg.cython_*'s capsule; its name is the C signature.
template <class Function>
void bind_routine(const py::object& module, const std::string& name, Function*& target) {
    const auto capsule = module.attr("__pyx_capi__")[py::str(name)].cast<py::capsule>();
    const std::string signature = capsule.name() == nullptr ? "" : capsule.name();
    if (!has_signature(target, signature))
        throw py::import_error("grokrfm needs SciPy's BLAS with 32-bit integers; " + name +
                               " has signature " + signature);
    target = reinterpret_cast<Function*>(capsule.get_pointer());
}

template <class T>
void bind_routines(const std::string& prefix) {
    const auto blas_module = py::module_::import("scipy.linalg.cython_blas");
    const auto lapack_module = py::module_::import("scipy.linalg.cython_lapack");
    auto& table = blas::routines<T>();
    bind_routine(blas_module, prefix + "gemm", table.gemm);
    bind_routine(blas_module, prefix + "gemv", table.gemv);
    bind_routine(blas_module, prefix + "syrk", table.syrk);
    bind_routine(blas_module, prefix + "trsm", table.trsm);
    bind_routine(lapack_module, prefix + "potrf", table.potrf);
    bind_routine(lapack_module, prefix + "potrs", table.potrs);
    bind_routine(lapack_module, prefix + "syevd", table.syevd);
}

inline void bind_blas() {
    bind_routines<float>("s");
    bind_routines<double>("d");
}

}  // namespace grokrfm
