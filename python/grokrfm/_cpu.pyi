from typing import Any

from numpy import float32, float64, int32
from numpy.typing import NDArray

from .operations import Kernel

_Floating = NDArray[float32] | NDArray[float64]

def kernel_matrix(
    kernel: Kernel,
    feature_matrix: _Floating,
    inputs: NDArray[int32],
    other: NDArray[int32] | None = None,
    out: _Floating | None = None,
    threads: int = 1,
) -> _Floating: ...
def decision_function(
    kernel: Kernel,
    feature_matrix: _Floating,
    evaluation: NDArray[int32],
    train: NDArray[int32],
    dual_coefficients: _Floating,
    threads: int = 1,
) -> _Floating: ...
def kernel_product(
    kernel: Kernel,
    feature_matrix: _Floating,
    inputs: NDArray[int32],
    vectors: _Floating,
    other: NDArray[int32] | None = None,
    threads: int = 1,
) -> _Floating: ...
def agop(
    kernel: Kernel,
    feature_matrix: _Floating,
    train: NDArray[int32],
    dual_coefficients: _Floating,
    centred: bool,
    threads: int = 1,
) -> _Floating: ...
def cholesky_solve(
    kernel_matrix: _Floating, targets_transposed: _Floating, threads: int = 1
) -> int: ...
def cholesky_inverse(matrix: _Floating, inverse: _Floating, threads: int = 1) -> int: ...
def grid_round(
    feature_matrix: _Floating,
    form: tuple[float, float, float],
    ridge: float,
    train_labels: NDArray[int32],
    test_labels: NDArray[int32],
    coarse: _Floating,
    moment: _Floating,
    tolerance: float,
    max_iterations: int,
    prediction: list[float],
    solutions: _Floating,
    own: _Floating,
    first_class: int = 0,
    targets: _Floating | None = None,
    target_tolerance: float = 0.0,
    threads: int = 1,
) -> dict[str, Any]: ...
def matrix_power(matrix: _Floating, exponent: float) -> _Floating: ...
def network_epoch(
    activation: str,
    first: _Floating,
    second: _Floating,
    moments: tuple[_Floating, ...],
    inputs: NDArray[int32],
    labels: NDArray[int32],
    transform: _Floating | None,
    learning_rate: float,
    weight_decay: float,
    agop_penalty: float,
    beta_mean: float,
    beta_square: float,
    epsilon: float,
    batch_size: int,
    steps: int,
    threads: int = 1,
) -> None: ...
def network_outputs(
    activation: str,
    first: _Floating,
    second: _Floating,
    inputs: NDArray[int32],
    transform: _Floating | None,
    threads: int = 1,
) -> _Floating: ...
def build_info() -> dict[str, Any]: ...
