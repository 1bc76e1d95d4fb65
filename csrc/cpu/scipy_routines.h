// Fills the tables of blas.h from SciPy, once, when a module is imported.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "blas.h"

namespace grokrfm {

namespace py = pybind11;

// The pointer behind scipy.linalg.cython_*'s capsule; its name is the C signature.
template <class Function>
void bind_routine(const py::object& module, const std::string& name, Function*& target) {
    const auto capsule = module.attr("__pyx_capi__")[py::str(name)].cast<py::capsule>();
    const std::string signature = capsule.name() == nullptr ? "" : capsule.name();
    if (signature.find("int *") == std::string::npos ||
        signature.find("int64") != std::string::npos || signature.find("long") != std::string::npos)
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
