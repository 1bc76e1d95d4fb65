"""What the classes of a round share, for large matrices: the same by other ways."""

import logging

import numpy as np
import pytest
from cases import assert_close
from grokrfm import ModularTask, RFMClassifier, _cpu
from grokrfm.operations import large, make_operations
from grokrfm.operations.cpp import CppOperations

D = 300  # two slabs, the last one shorter
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_threads():
    """As in a run."""
    with make_operations("cpp").device.own_threads():
        yield


def with_eigenvalues(eigenvalues, dtype="float64"):
    Q, _ = np.linalg.qr(RNG.normal(size=(len(eigenvalues),) * 2))
    matrix = (Q * eigenvalues) @ Q.T
    return (0.5 * (matrix + matrix.T)).astype(dtype)


def root_by_eigenvectors(G):
    eigenvalues, vectors = np.linalg.eigh(G.astype(np.float64))
    half = vectors * np.maximum(eigenvalues, 0) ** 0.25
    return half @ half.T


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])
def test_products(dtype, tolerance):
    A, B = (RNG.normal(size=shape).astype(dtype) for shape in ((D, 300), (300, 400)))
    result = large.product(A, B, 2)
    assert result.dtype == dtype
    assert_close(result, A @ B, tolerance)
    for threads in (1, 3):
        np.testing.assert_array_equal(large.product(A, B, threads), result)
    square = large.product(A, A.T, 2, symmetric=True)
    np.testing.assert_array_equal(square, square.T)
    assert_close(square, A @ A.T, tolerance)
    np.testing.assert_array_equal(large.product(A, A.T, 1, symmetric=True), square)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-12)])
@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 300])
def test_inverses(size, dtype, tolerance):
    K = with_eigenvalues(np.geomspace(1, 1e2, size), dtype)
    expected = np.linalg.inv(K.astype(np.float64)).astype(dtype)
    for threads in (1, 2, 5):
        # The threads' shares of rows depend on their number, and with some BLAS the last digits.
        result, again = np.full_like(K, np.nan), np.full_like(K, np.nan)
        for out in (result, again):
            assert _cpu.cholesky_inverse(K.copy(), out, threads) == 0
        np.testing.assert_array_equal(result, again)
        np.testing.assert_array_equal(result, result.T)
        assert_close(result, expected, tolerance)
    K[-1, -1] = -1
    assert _cpu.cholesky_inverse(K, result, 2) == size


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-11)])
@pytest.mark.parametrize("condition", [1, 1e3])
def test_damped_inverses(dtype, tolerance, condition):
    C = with_eigenvalues(np.geomspace(1, condition, 90), dtype)
    G = with_eigenvalues(np.r_[0, np.linspace(0.1, 3, 89)], dtype)
    before = C.copy(), G.copy()
    exact = np.linalg.inv(np.linalg.inv(C.astype("float64")) + G.astype("float64")).astype(dtype)
    operations = make_operations("cpp")
    for result in (large.damped_inverse(C, G, 2), operations.damped_inverse(C, G)):
        assert_close(result, exact, tolerance)
    for array, copy in zip((C, G), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        large.damped_inverse(-C, G, 2)


SPECTRA = {
    "narrow": np.linspace(0.5, 2, D),
    "wide": np.geomspace(1e-7, 3, D),
    "of an AGOP": np.r_[0, 0, np.geomspace(1e-3, 1, D - 2)],
    "rounded": np.r_[-3e-8, -1e-8, 0, np.geomspace(1e-3, 1, D - 3)],
    "rounded badly": np.r_[-4e-7, np.geomspace(1e-3, 1, D - 1)],
    "of low rank": np.r_[np.zeros(D - 20), np.linspace(1, 2, 20)],
    "tiny": 1e-12 * np.geomspace(1e-3, 1, D),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_square_roots(name):
    """In the second norm the floor shows, √(ε ‖G‖₁): in directions without features."""
    eigenvalues = SPECTRA[name]
    G = with_eigenvalues(eigenvalues, "float32")
    before = G.copy()
    root = large.square_root(G, 2)
    np.testing.assert_array_equal(G, before)
    np.testing.assert_array_equal(root, root.T)
    exact, norm = root_by_eigenvectors(G), np.abs(G).sum(axis=0).max()
    largest = eigenvalues[-1] ** 0.5
    floor = (large.FLOORS[name == "rounded badly"] * norm) ** 0.5
    assert np.linalg.norm(root - exact, 2) <= floor + 2e-6 * largest
    residual = np.linalg.norm(root.astype(float) @ root - G, 2)
    assert residual <= floor**2 + 2e-6 * largest**2
    kept = np.linalg.eigvalsh(root.astype(float))
    assert kept[0] > -1e-6 * largest
    clear = eigenvalues > 1e3 * floor**2
    np.testing.assert_allclose(kept[clear], eigenvalues[clear] ** 0.5, rtol=1e-3)
    assert clear.sum() >= 20


@pytest.mark.parametrize("matrix", [np.zeros((9, 9)), np.full((9, 9), np.nan), -np.eye(9)])
def test_matrices_without_a_square_root(matrix, caplog):
    G = matrix.astype("float32")
    with pytest.raises(np.linalg.LinAlgError):
        large.square_root(G, 1)
    operations = CppOperations()
    operations.large_rows = 0
    caplog.set_level(logging.INFO, logger="grokrfm")
    if np.isnan(G).any():
        with pytest.raises(np.linalg.LinAlgError):
            operations.matrix_power(G, 0.5)
    else:
        np.testing.assert_array_equal(operations.matrix_power(G, 0.5), 0)
    assert "took the eigenvectors" in caplog.text


def test_a_wrong_square_root_is_not_taken(monkeypatch):
    monkeypatch.setattr(large, "_polar_factor", lambda R, *_: np.eye(len(R), dtype="float32"))
    with pytest.raises(np.linalg.LinAlgError, match="its squares sum to"):
        large.square_root(with_eigenvalues(np.linspace(1, 9, 40), "float32"), 1)


def test_which_matrices_are_large():
    """Today's results stay as they are up to modulus 500; other powers and float64 everywhere."""
    assert CppOperations().large_rows == 1000
    operations = CppOperations()
    operations.large_rows = 60
    for d, dtype, exponent, same in (
        (60, "float32", 0.5, True),
        (61, "float64", 0.5, True),
        (61, "float32", 0.25, True),
        (61, "float32", 0.5, False),
    ):
        G = with_eigenvalues(np.linspace(0.1, 1, d), dtype)
        first, second = (ops.matrix_power(G, exponent) for ops in (operations, CppOperations()))
        assert (first.tobytes() == second.tobytes()) == same
        assert_close(first, second, 1e-5)


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_is_the_same_by_either_way(kernel, dtype, monkeypatch):
    split = ModularTask("x+y", 31).split(0.5, 0)
    models = []
    for rows in (1000, 0):
        monkeypatch.setattr(CppOperations, "large_rows", rows)
        model = RFMClassifier(31, kernel=kernel, solver="cg", iterations=12, dtype=dtype)
        models.append(model.fit(split))
    exact, other = (model.history_ for model in models)
    loose = dtype == "float32"
    np.testing.assert_allclose(
        other["test_accuracy"], exact["test_accuracy"], atol=0.01 if loose else 1e-12
    )
    np.testing.assert_allclose(other["test_mse"], exact["test_mse"], rtol=5e-3 if loose else 1e-5)
    assert_close(models[1].feature_matrix_, models[0].feature_matrix_, 5e-3 if loose else 1e-5)
    assert np.abs(other["cg_iterations"] - exact["cg_iterations"]).max() <= 1
    assert (models[0].feature_matrix_ != models[1].feature_matrix_).any()
