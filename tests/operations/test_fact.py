"""The matrix of the Features at Convergence Theorem, and the update that is made of it."""

import numpy as np
import pytest
from cases import CASES, make_data, make_problem
from grokrfm import ModularTask, MultiTask, RFMClassifier, fit_many, load
from grokrfm.operations import fact_matrix, fact_update, kernels
from grokrfm.operations.reference import one_hot


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_finite_differences(case, slots):
    problem = make_problem(4, slots=slots, p=4, n=9, c=3)
    M, train = problem.M, np.unique(problem.train, axis=0)
    alpha, X = problem.dual_coefficients[: len(train)], one_hot(np, train, len(M), np.float64)
    kernel, step = case.kernel(len(M)), 1e-5

    def outputs(Z):
        s, q_x, q_z = X @ M @ Z.T, np.diag(X @ M @ X.T)[:, None], np.diag(Z @ M @ Z.T)[None, :]
        return kernels.value(kernel, s, q_x, q_z).T @ alpha

    expected = np.zeros_like(M)
    for j, x in enumerate(X):
        for v, e in enumerate(step * np.eye(len(M))):
            ahead, behind = outputs(np.stack([x + e, x - e]))
            expected[v] += (alpha[j] @ (ahead - behind)) / (2 * step) * x
    F = fact_matrix(np, kernel, M, train, alpha)
    bound = 1e-4 if case.name in ("laplace", "ntk") else 2e-6  # not smooth at x_j itself
    np.testing.assert_allclose(F, expected, atol=bound * abs(expected).max())


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic", "gaussian", "laplace"])
def test_f_times_m_is_symmetric_and_the_update_its_absolute_value(kernel):
    problem = make_problem(6, n=40)
    made = kernels.make_kernel(kernel, bandwidth=2.5, depth=1, dimension=10)
    M = problem.M @ problem.M.T
    F = fact_matrix(np, made, M, problem.train, problem.dual_coefficients)
    product = F @ M
    np.testing.assert_allclose(product, product.T, atol=1e-10 * abs(product).max())
    update = fact_update(np, F, M)
    np.testing.assert_allclose(
        update @ update, product @ product, atol=1e-9 * abs(product).max() ** 2
    )
    if kernel == "quadratic":  # positive semidefinite
        np.testing.assert_allclose(update, product, atol=1e-9 * abs(product).max())


def test_it_is_that_of_the_theorem():
    """−1/(nλ) Σ ∇ℓ_j x_jᵀ, the ridge nλ, of half the squared errors by finite differences."""
    p, ridge, step = 7, 0.3, 1e-5
    split = ModularTask("x+y", p).split(0.6)
    model = RFMClassifier(p, kernel="gaussian", iterations=0, ridge=ridge, dtype="float64")
    model.fit(split)
    X = np.eye(p)[split.X_train].reshape(-1, 2 * p)
    expected = np.zeros((2 * p, 2 * p))
    for x, label in zip(X, split.y_train, strict=True):
        Z = np.concatenate([x + step * np.eye(2 * p), x - step * np.eye(2 * p)])
        squares = ((X[:, None, :] - Z[None, :, :]) ** 2).sum(axis=2)
        errors = np.exp(-squares / (2 * 2.5**2)).T @ model.dual_coef_ - np.eye(p)[label]
        loss = 0.5 * (errors**2).sum(axis=1)
        gradient = (loss[: 2 * p] - loss[2 * p :]) / (2 * step)
        expected -= gradient[:, None] * x / ridge
    np.testing.assert_allclose(model.fact(), expected, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic", "quadratic_ntk"])
def test_the_grid_has_the_same_rounds_as_sums_over_pairs(kernel):
    split = ModularTask("x+y", 11).split(0.6)
    histories = []
    for options in (
        {"solver": "cg"},
        {"solver": "cholesky"},
        {"backend": "numpy", "solver": "cholesky"},
    ):
        model = RFMClassifier(
            11,
            kernel=kernel,
            iterations=3,
            dtype="float64",
            tol=1e-12,
            feature_update="fact",
            **options,
        )
        histories.append(model.fit(split).feature_matrices_)
    for other in histories[1:]:
        np.testing.assert_allclose(other, histories[0], atol=2e-6 * abs(histories[0][-1]).max())


def test_the_next_matrix_is_what_the_model_tells():
    split = ModularTask("x+y", 7).split(0.6)
    options = {"kernel": "gaussian", "dtype": "float64", "feature_update": "fact"}
    model = RFMClassifier(7, iterations=1, **options).fit(split)
    first = model.at_iteration(0)
    F = first.fact()
    M = model.feature_matrices_[1]
    np.testing.assert_allclose(M @ M, fact_update(np, F, np.eye(14)), atol=1e-9 * abs(M @ M).max())
    plain = RFMClassifier(7, iterations=0, kernel="gaussian", dtype="float64").fit(split)
    np.testing.assert_allclose(plain.fact(), F, atol=1e-12 * abs(F).max())


def test_addition_groks_towards_the_fixed_point():
    split = ModularTask("x+y", 31).split(0.7)
    model = RFMClassifier(31, iterations=50, feature_update="fact").fit(split)
    accuracy = model.history_["test_accuracy"]
    assert accuracy[20] < 0.05 and accuracy[-1] > 0.95
    F, M = model.fact(), model.feature_matrix_
    assert np.corrcoef(F[~np.eye(62, dtype=bool)], M[~np.eye(62, dtype=bool)])[0, 1] > 0.99
    assert model.get_params()["feature_update"] == "fact"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"feature_update": "nfm"}, "feature_update: expected one of agop, fact; got 'nfm'"),
        ({"agop_classes": 3}, "agop_classes: expected None with feature_update='fact'.* got 3"),
        (
            {"kernel": "laplace", "solver": "cg"},
            "solver: 'cg' does not apply, feature_update='fact'",
        ),
    ],
)
def test_bad_input(options, message):
    data = make_data(7)
    with pytest.raises(ValueError, match=message):
        RFMClassifier(7, **{"feature_update": "fact", **options}).fit(data.train, data.train_labels)


def test_no_fact_without_dual_coefficients():
    split = ModularTask("x+y", 7).split(0.6)
    model = RFMClassifier(7, iterations=1, agop_classes=3, eval_pairs=4).fit(split)
    with pytest.raises(ValueError, match="fact: expected a model with dual coefficients"):
        model.fact()


def test_files_and_inputs_with_a_task_bit(tmp_path):
    task = MultiTask(["x+y", "x-y"], 5)
    model = RFMClassifier.for_task(task, iterations=2, kernel="gaussian", feature_update="fact")
    model.fit(task.split(0.5)).save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert again.feature_update == "fact"
    np.testing.assert_array_equal(again.fact(), model.fact())
    assert model.fact().shape == (11, 11)


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic"])
def test_runs_that_go_together(emulated_backend, kernel):
    options = {"kernel": kernel, "iterations": 2, "solver": "cg", "dtype": "float64", "tol": 1e-10}
    splits = [ModularTask("x+y", 7).split(0.6, seed) for seed in range(2)]
    together, alone = (
        fit_many(
            [RFMClassifier(7, backend=backend, feature_update="fact", **options) for _ in splits],
            splits,
        )
        for backend in ("cuda", "cpp")
    )
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.feature_matrices_, theirs.feature_matrices_, atol=1e-6)
