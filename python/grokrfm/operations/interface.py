"""What a backend is: a device for its arrays, and every operation on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from .conjugate_gradients import coarse_inverse
from .device import Device
from .grid import GridProblem, GridSums
from .kernels import Kernel
from .networks import Network, Training


class Operations(ABC):
    """The operations, one for each header of csrc, on arrays of `device`.

    Inputs are given as active indices, (n, k) int32: row i names the unit vectors whose sum is x_i,
    −1 names none. A backend defines every operation or names the array source it takes instead
    (`reference`): none is missing without being seen.
    """

    compiled: ClassVar[bool]
    # Of `grid_round`: whether it and `matrix_power` take several runs at once, how many p × p
    # arrays it works in, and the bytes of its largest block of columns.
    batched: ClassVar[bool]
    grid_arrays: ClassVar[int]
    block_bytes: ClassVar[int]
    # Bytes of the blocks in which a product or an AGOP goes over the kernel matrix, beside vectors.
    streamed_bytes: ClassVar[int] = 0
    # What the classes of a round share goes by other ways with matrices of more rows than this:
    # in the precision of the run, and on threads of our own.
    large_rows: float = float("inf")

    def __init__(self, device: Device) -> None:
        self.device = device

    def for_few_columns(self) -> Operations:
        """The operations for runs that solve for a few columns, whose shared algebra weighs more.

        Those with other ways for large matrices take them for smaller ones too. Runs that solve for
        all classes do not: they stay to the last bit what they were.
        """
        return self

    def product(self, A: Any, B: Any, symmetric: bool = False) -> Any:
        """A B, (…, n, m), which the caller may know to be symmetric."""
        return A @ B

    def damped_inverse(self, C: Any, G: Any) -> Any:
        """(C⁻¹ + G)⁻¹ = (I + C G)⁻¹ C of positive semidefinite matrices, (…, d, d)."""
        return coarse_inverse(self.device.xp, C, G)

    @abstractmethod
    def kernel_matrix(
        self, kernel: Kernel, M: Any, inputs: Any, other: Any = None, out: Any = None
    ) -> Any:
        """K[i, j] = k(x_i, z_j), (n, m); of the inputs with themselves without `other`."""

    @abstractmethod
    def cholesky_solve(self, K: Any, Y: Any) -> Any:
        """X with K X = Y, (n, c), for symmetric positive definite K; K may be overwritten.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K is not positive definite to working precision.
        """

    @abstractmethod
    def decision_function(
        self, kernel: Kernel, M: Any, evaluation: Any, train: Any, dual_coefficients: Any
    ) -> Any:
        """f(z_j) = Σ_i α_i k(x_i, z_j), (m, c)."""

    @abstractmethod
    def kernel_product(
        self, kernel: Kernel, M: Any, inputs: Any, vectors: Any, other: Any = None
    ) -> Any:
        """K V, (n, k), for K as `kernel_matrix` has it, of which only blocks exist at a time."""

    @abstractmethod
    def agop(
        self, kernel: Kernel, M: Any, train: Any, dual_coefficients: Any, centred: bool
    ) -> Any:
        """Average gradient outer product over the training points, (d, d).

        The gradient of f_c at x_j is M u_jc with
        u_jc = Σ_i α_ic ∂h/∂s(i,j) x_i + 2 x_j Σ_i α_ic ∂h/∂q_z(i,j); `centred` subtracts its mean
        over j for each class.
        """

    @abstractmethod
    def matrix_power(self, G: Any, exponent: float) -> Any:
        """G^s of a symmetric positive semidefinite G, computed in float64; the dtype of G."""

    @abstractmethod
    def column_bytes(self, modulus: int, classes: int, targets: int, itemsize: int) -> int:
        """The p × p arrays of a round of so many columns, beside the vectors of the columns."""

    @abstractmethod
    def grid_round(
        self,
        problem: GridProblem,
        solutions: Any,
        own: Any,
        first_class: int = 0,
        targets: Any = None,
        target_tolerance: float = 0.0,
    ) -> GridSums:
        """Solve, evaluate and sum for columns; see `grid.grid_round`."""

    @abstractmethod
    def network_epoch(
        self, training: Training, network: Network, inputs: Any, labels: Any, transform: Any = None
    ) -> Network:
        """The network after steps through the inputs (n, 2) in the order given; see `networks`."""

    @abstractmethod
    def network_outputs(
        self, activation: str, network: Network, inputs: Any, transform: Any = None
    ) -> Any:
        """Outputs of a network on inputs (n, 2), (n, c)."""
