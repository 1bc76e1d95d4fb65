// grokrfm._cpu.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <thread>

#include "bindings.h"
#include "loops.h"
#include "scipy_routines.h"

namespace {

pybind11::dict build_info() {
    using pybind11::arg;
    return pybind11::dict(
        arg("compiler") = GROKRFM_COMPILER, arg("build_type") = GROKRFM_BUILD_TYPE,
        arg("instruction_sets") = pybind11::tuple(pybind11::cast(grokrfm::instruction_sets())),
        arg("instruction_set_in_use") = grokrfm::instruction_set_in_use(),
        arg("hardware_threads") = std::thread::hardware_concurrency());
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
    module.doc() = "Compiled operations of grokrfm for the CPU.";
    grokrfm::bind_blas();
    // A lower instruction set than the best, for tests.
    const char* wanted = std::getenv("GROKRFM_INSTRUCTION_SET");
    grokrfm::use_instruction_set(wanted == nullptr ? "" : wanted);
    grokrfm::register_dense(module);
    grokrfm::register_grid_round(module);
    grokrfm::register_network(module);
    module.def("build_info", &build_info);
}
