"""Conjugate gradients by streamed products against Cholesky, for kernels of every kind."""

import numpy as np
import pytest
from cases import CASES, make_data, metric
from grokrfm import ModularTask, RFMClassifier
from grokrfm.operations import AdditivePart, ArrayOperations, CustomKernel, Kernel
from grokrfm.operations.cpp import CppOperations
from grokrfm.rfm.evaluation import DenseEvaluator
from grokrfm.rfm.streamed import StreamedMachine, StreamedSolver
from grokrfm.tasks import pair_indices

CPP, ARRAYS = CppOperations(), ArrayOperations()
P = 17
DATA = make_data(P)


def problem(case, operations=CPP, ridge=0.0, M=None, data=DATA):
    """A solver, M, the targets of all classes and the exact solution."""
    d = 2 * data.modulus
    M = np.eye(d) + 0.3 * metric(np.random.default_rng(0), d, "definite") if M is None else M
    kernel, targets = case.kernel(d), data.targets(np.float64)
    K = ARRAYS.kernel_matrix(kernel, M, pair_indices(data.train, data.modulus))
    exact = np.linalg.solve(K + ridge * np.eye(len(K)), targets)
    return StreamedSolver(operations, kernel, data, "float64", ridge), M, targets, exact, K


@pytest.mark.parametrize("operations", [CPP, ARRAYS], ids=["cpp", "numpy"])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_solution_is_that_of_a_factorisation(case, ridge, operations):
    solver, M, targets, exact, K = problem(case, operations, ridge)
    solution, outputs, iterations, residuals = solver.solve(M, targets, None, 1e-10)
    misses = np.linalg.norm(targets - (K @ solution + ridge * solution), axis=0)
    sizes = np.linalg.norm(targets, axis=0)
    np.testing.assert_allclose(residuals, misses / sizes, rtol=1e-3, atol=1e-13)
    assert residuals.max() <= 1e-10 and iterations.max() < 60
    np.testing.assert_allclose(outputs, K @ solution, atol=1e-9)
    np.testing.assert_allclose(solution, exact, atol=1e-6 * abs(exact).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_agop_of_a_round(case):
    data = make_data(11)
    M = np.eye(22) + 0.3 * metric(np.random.default_rng(1), 22, "definite")
    kernel = case.kernel(22)
    machine = StreamedMachine(CPP, kernel, data, "float64", 0.0, True, 1e-10)
    [evaluation] = machine.fit(M)
    exact = problem(case, M=M, data=data)[3]
    dense = DenseEvaluator(CPP, kernel, data, "float64", 0.0, True)(M, exact)
    assert not evaluation.complaint and evaluation.cg_iterations > 0
    np.testing.assert_allclose(vars(evaluation.test)["mse"], dense.test.mse, rtol=1e-6)
    np.testing.assert_allclose(machine.dual_coefficients(), exact, atol=1e-6 * abs(exact).max())
    expected = dense.agop()
    np.testing.assert_allclose(evaluation.agop(), expected, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=str)
def test_the_additive_part_saves_steps(case):
    """Against the diagonal alone, which is all that is left of λ + W C Wᵀ without C."""
    solver, M, targets, *_ = problem(case)
    steps = solver.solve(M, targets, None, 1e-6)[2].max()
    solver._preconditioner = lambda M: lambda R: R
    assert steps <= solver.solve(M, targets, None, 1e-6)[2].max() / 2


def test_a_start_near_the_solution_saves_steps():
    solver, M, targets, exact, _ = problem(CASES[2])
    cold = solver.solve(M, targets, None, 1e-6)
    near = exact + 1e-4 * np.random.default_rng(3).normal(size=exact.shape) * abs(exact).max()
    warm = solver.solve(M, targets, 7 * near, 1e-6)  # the factor does no harm
    assert 0 < warm[2].max() < cold[2].max()
    assert warm[3].max() <= 1e-6
    for useless in (np.zeros_like(targets), np.full_like(targets, np.nan)):
        for mine, its in zip(solver.solve(M, targets, useless, 1e-6), cold, strict=True):
            np.testing.assert_array_equal(mine, its)


def test_columns_are_solved_for_as_if_alone():
    """Whatever is beside them, and whenever that is done; one without training pairs takes none."""
    solver, M, targets, _, _ = problem(CASES[4])
    random = np.random.default_rng(4).normal(size=targets.shape)
    columns = np.stack([targets[:, 0], random[:, 0], np.zeros(len(targets))], axis=1)
    together = solver.solve(M, columns, None, 1e-9)
    assert together[2][2] == 0 and not together[0][:, 2].any()
    for i in range(2):
        alone = solver.solve(M, columns[:, [i]].copy(), None, 1e-9)
        assert abs(alone[2][0] - together[2][i]) <= 1
        np.testing.assert_allclose(alone[0][:, 0], together[0][:, i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", ["indefinite", "nan", "zero"])
@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "ntk"])
def test_what_cannot_be_solved_ends_and_shows(kernel, bad):
    data = make_data(7)
    if bad == "indefinite":
        M = metric(np.random.default_rng(5), 14, "indefinite")
    else:
        M = np.full((14, 14), np.nan if bad == "nan" else 0.0)
    machine = StreamedMachine(CPP, Kernel(kernel, 0.3), data, "float64", 0.0, True, 1e-8)
    try:
        [evaluation] = machine.fit(M)
    except np.linalg.LinAlgError:
        assert bad == "nan"
        return
    assert evaluation.residual <= 1e-8 or "conjugate gradients stopped" in evaluation.complaint
    assert bad == "indefinite" or evaluation.complaint


def test_fitted_part_is_exact_where_the_kernel_has_no_other():
    """And it is positive semidefinite."""
    additive = CustomKernel("additive", lambda s, q_x, q_z, xp: 2.0 + s, lambda *_: (1.0, 0.0))
    for p in (5, 23):
        M = np.zeros((2 * p, 2 * p))
        A, D = (metric(np.random.default_rng(i), p, "definite") for i in (6, 7))
        M[:p, :p], M[p:, p:] = A, D
        C = AdditivePart(ARRAYS, additive, p)(M)
        pairs = ModularTask("x+y", p).pairs
        W = np.zeros((len(pairs), 2 * p))
        W[np.arange(len(W)), pairs[:, 0]] = W[np.arange(len(W)), p + pairs[:, 1]] = 1
        K = ARRAYS.kernel_matrix(additive, M, pair_indices(pairs, p))
        np.testing.assert_allclose(W @ C @ W.T, K, atol=1e-4 * abs(K).max())
        assert np.linalg.eigvalsh(C).min() >= -1e-12


def test_a_run_repeats_bit_by_bit_and_follows_cholesky():
    split = ModularTask("x+y", 23).split(0.7, 0)
    given = {"kernel": "gaussian", "iterations": 8, "dtype": "float64", "tol": 1e-10}
    first, second, exact = (
        RFMClassifier(23, solver=solver, **given).fit(split) for solver in ("cg", "cg", "cholesky")
    )
    np.testing.assert_array_equal(first.feature_matrices_, second.feature_matrices_)
    np.testing.assert_array_equal(first.dual_coef_, second.dual_coef_)
    size = abs(exact.feature_matrix_).max()
    np.testing.assert_allclose(first.feature_matrix_, exact.feature_matrix_, atol=1e-6 * size)
    for key in ("train_accuracy", "test_accuracy", "test_mse"):
        np.testing.assert_allclose(first.history_[key], exact.history_[key], rtol=1e-6)
    later = first.at_iteration(8)
    np.testing.assert_allclose(
        later.dual_coef_, first.dual_coef_, atol=1e-6 * abs(first.dual_coef_).max()
    )
