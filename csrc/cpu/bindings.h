// The operations of grokrfm._cpu: each register_* adds some to the module. Documentation for users
// stands in python/grokrfm/operations/cpp.py.
#pragma once

#include <pybind11/pybind11.h>

namespace grokrfm {

void register_dense(pybind11::module_& module);
void register_grid_round(pybind11::module_& module);
void register_network(pybind11::module_& module);

}  // namespace grokrfm
