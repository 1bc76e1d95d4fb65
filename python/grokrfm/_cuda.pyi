from collections.abc import Callable
from typing import Any

class Device:
    def __init__(self, addresses: dict[str, int], tf32: bool) -> None: ...
    @staticmethod
    def routine_names() -> list[str]: ...

class Place:
    def __init__(self, device: Device, stream: int, allocate: Callable[[int], Any]) -> None: ...

def device_count() -> int: ...
def build_info() -> dict[str, Any]: ...

# Arrays offer the CUDA array interface; `out` and what follows it in grid_round are written.
def kernel_matrix(
    at: Place, kernel: Any, feature_matrix: Any, inputs: Any, other: Any, out: Any
) -> None: ...
def decision_function(
    at: Place,
    kernel: Any,
    feature_matrix: Any,
    evaluation: Any,
    train: Any,
    dual_coefficients: Any,
    out: Any,
) -> None: ...
def cholesky_solve(at: Place, kernel_matrix: Any, targets_transposed: Any) -> int: ...
def agop(
    at: Place,
    kernel: Any,
    feature_matrix: Any,
    train: Any,
    slots: list[tuple[Any, Any, int]],
    dual_coefficients: Any,
    centred: bool,
    out: Any,
) -> None: ...
def matrix_power(at: Place, matrices: Any, exponent: float, out: Any) -> int: ...
def grid_round(at: Place, budget: int, **fields: Any) -> None: ...
def grid_round_bytes(p: int, classes: int, targets: int, itemsize: int, budget: int) -> int: ...
