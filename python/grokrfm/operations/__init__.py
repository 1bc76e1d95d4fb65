"""Every operation on arrays, for each backend: C++, CUDA, and the array source on NumPy or CuPy."""

from . import memory
from .additive import AdditivePart
from .backends import (
    BACKENDS,
    FittedBackend,
    array_backend,
    make_operations,
    missing_backends,
)
from .conjugate_gradients import coarse_inverse, conjugate_gradients
from .custom import check_custom_kernel
from .device import Device
from .fact import fact_from_sums, fact_matrix, fact_update
from .grid import (
    Form,
    GridProblem,
    GridSums,
    agop_from_sums,
    coarse_matrix,
    kernel_diagonal,
    moment_in_metric,
    pair_sums,
    renumbered,
    second_moment,
)
from .info import build_info
from .interface import Operations
from .kernels import KERNELS, CustomKernel, Kernel, make_kernel, quadratic_form
from .networks import (
    ACTIVATIONS,
    OPTIMIZERS,
    Network,
    Training,
    initial_network,
    network_agop,
    network_class_agops,
    network_fact,
)
from .reference import ArrayOperations, minimum_norm_solve, network_rows

__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "KERNELS",
    "OPTIMIZERS",
    "AdditivePart",
    "ArrayOperations",
    "CustomKernel",
    "Device",
    "FittedBackend",
    "Form",
    "GridProblem",
    "GridSums",
    "Kernel",
    "Network",
    "Operations",
    "Training",
    "agop_from_sums",
    "array_backend",
    "build_info",
    "check_custom_kernel",
    "coarse_inverse",
    "coarse_matrix",
    "conjugate_gradients",
    "fact_from_sums",
    "fact_matrix",
    "fact_update",
    "initial_network",
    "kernel_diagonal",
    "make_kernel",
    "make_operations",
    "memory",
    "minimum_norm_solve",
    "missing_backends",
    "moment_in_metric",
    "network_agop",
    "network_class_agops",
    "network_fact",
    "network_rows",
    "pair_sums",
    "quadratic_form",
    "renumbered",
    "second_moment",
]
