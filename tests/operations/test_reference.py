"""The array reference against what it must be: finite differences, identities, known values."""

import numpy as np
import pytest
from cases import CASES, assert_close, make_problem
from grokrfm.operations import kernels
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.cuda import CudaOperations
from grokrfm.operations.device import Device
from grokrfm.operations.interface import Operations
from grokrfm.operations.reference import (
    ArrayNetworks,
    ArrayOperations,
    minimum_norm_solve,
    one_hot,
)
from hypothesis import given, settings
from hypothesis import strategies as st

REFERENCE = ArrayOperations()


def outputs_at(kernel, M, X, alpha, Z):
    """f(z) for dense rows Z, straight from the definition of the kernel."""
    s = X @ M @ Z.T
    q_x, q_z = np.diag(X @ M @ X.T)[:, None], np.diag(Z @ M @ Z.T)[None, :]
    return kernels.value(kernel, s, q_x, q_z).T @ alpha


@pytest.mark.parametrize("case", CASES, ids=str)
def test_slopes_are_the_derivatives_of_the_value(case):
    kernel = case.kernel(10)
    rng = np.random.default_rng(0)
    s, q_x, q_z = rng.normal(size=50) * 0.3, 1 + rng.random(50), 1 + rng.random(50)
    step = 1e-6
    d_s, d_q = kernels.slopes(kernel, s, q_x, q_z)
    in_s = kernels.value(kernel, s + step, q_x, q_z) - kernels.value(kernel, s - step, q_x, q_z)
    in_q = kernels.value(kernel, s, q_x, q_z + step) - kernels.value(kernel, s, q_x, q_z - step)
    np.testing.assert_allclose(d_s, in_s / (2 * step), atol=1e-8)
    np.testing.assert_allclose(d_q, in_q / (2 * step), atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_is_symmetric_in_its_points(case):
    kernel = case.kernel(10)
    rng = np.random.default_rng(1)
    s, q_x, q_z = rng.normal(size=50), 1 + rng.random(50), 1 + rng.random(50)
    np.testing.assert_allclose(
        kernels.value(kernel, s, q_x, q_z), kernels.value(kernel, s, q_z, q_x), rtol=1e-14
    )


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agop_against_finite_differences(case, slots, centred):
    problem = make_problem(2, slots=slots, p=4, n=7, c=3)
    M, alpha = problem.M, problem.dual_coefficients
    # Distinct points: at a point that repeats, Laplace and ReLU NTK are not differentiable.
    train = np.unique(problem.train, axis=0)
    alpha = alpha[: len(train)]
    d, n = len(M), len(train)
    kernel = case.kernel(d)
    X = one_hot(np, train, d, np.float64)
    gradients = np.empty((n, alpha.shape[1], d))
    smooth = case.name not in ("laplace", "ntk")
    step = 1e-5
    for j in range(n):
        # Where the kernel has a kink at x_j itself, the convention is that this term adds nothing
        # (Laplace) or its smooth part; central differences cancel a symmetric kink.
        for v in range(d):
            Z = np.stack([X[j], X[j]])
            Z[0, v] += step
            Z[1, v] -= step
            f = outputs_at(kernel, M, X, alpha, Z)
            gradients[j, :, v] = (f[0] - f[1]) / (2 * step)
    if centred:
        gradients -= gradients.mean(axis=0)
    expected = np.einsum("jcu,jcv->uv", gradients, gradients) / n
    actual = REFERENCE.agop(kernel, M, train, alpha, centred)
    assert_close(actual, expected, 1e-7 if smooth else 2e-4)


def test_absent_index_adds_nothing():
    problem = make_problem(3, slots=3)
    kernel = CASES[0].kernel(len(problem.M))
    X = one_hot(np, problem.train, len(problem.M), np.float64)
    assert (problem.train < 0).any()
    assert_close(
        REFERENCE.kernel_matrix(kernel, problem.M, problem.train),
        3 * (X @ problem.M @ X.T) ** 2,
        1e-14,
    )


@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(0.1, 2))
@settings(max_examples=25, deadline=None)
def test_matrix_power_of_known_eigenvalues(seed, exponent):
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    eigenvalues = np.array([3.0, 2.0, 1.0, 0.5, 1e-3, -1e-12])
    G = (vectors * eigenvalues) @ vectors.T
    expected = (vectors * np.maximum(eigenvalues, 0) ** exponent) @ vectors.T
    np.testing.assert_allclose(
        REFERENCE.matrix_power((G + G.T) / 2, exponent),
        expected,
        atol=1e-2 if exponent < 0.3 else 1e-5,
    )


def test_minimum_norm_solution_of_a_singular_system():
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(8, 5))
    K, Y = factor @ factor.T, rng.normal(size=(8, 3))
    np.testing.assert_allclose(minimum_norm_solve(np, K, Y), np.linalg.pinv(K) @ Y, atol=1e-10)


def test_relu_ntk_of_one_layer_is_the_arc_cosine_formula():
    kernel = CASES[-2].kernel(4)
    rho = np.linspace(-1, 1, 9)
    angle = np.arccos(rho)
    expected = (2 * rho * (np.pi - angle) + np.sin(angle)) / np.pi
    np.testing.assert_allclose(kernels.value(kernel, 4 * rho, 2.0, 8.0), 4 * expected, atol=1e-12)


def test_a_backend_says_what_it_has():
    """No operation is inherited unseen: each is defined, or taken from the array source by name."""
    every = Operations.__abstractmethods__
    assert set(vars(CppOperations)) >= every
    assert set(vars(CudaOperations)) | set(vars(ArrayNetworks)) >= every
    assert not {name for name in vars(ArrayNetworks) if name in every} - {
        "network_epoch",
        "network_outputs",
    }

    class Incomplete(Operations):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Incomplete(Device())
