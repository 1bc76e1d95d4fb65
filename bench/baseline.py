"""One RFM round as the paper's formulas read: dense one-hot inputs, an n × c × 2p gradient array.

This is what grokrfm is timed against. NumPy on the same BLAS threads, float64 or float32.
"""

import numpy as np


def one_hot(X, p, dtype):
    """Inputs e_a ⊕ e_b of pairs, (n, 2p)."""
    eye = np.eye(p, dtype=dtype)
    return np.concatenate([eye[X[:, 0]], eye[X[:, 1]]], axis=1)


def literal_round(kernel, X, Y, Z, M, bandwidth=2.5):
    """Solve, predict and update.

    Parameters
    ----------
    kernel : {"quadratic", "gaussian"}
    X, Y, Z : ndarray, shape (n, 2p), (n, c) and (m, 2p)
        Training inputs, one-hot labels, test inputs.
    M : ndarray, shape (2p, 2p)

    Returns
    -------
    outputs on the test inputs (m, c), next feature matrix (2p, 2p)
    """
    n, c = Y.shape
    XM = X @ M
    if kernel == "quadratic":
        s = XM @ X.T
        alpha = np.linalg.solve(3 * s**2, Y)
        outputs = 3 * (Z @ XM.T) ** 2 @ alpha
        # grad f_c(x_j) = sum_i alpha_ic 6 s_ij M x_i
        terms = (alpha[:, :, None] * XM[:, None, :]).reshape(n, -1)
        gradients = ((6 * s).T @ terms).reshape(n, c, -1)
    else:
        K = np.exp(-_squared_distances(X, X, M) / (2 * bandwidth**2))
        alpha = np.linalg.solve(K, Y)
        outputs = np.exp(-_squared_distances(Z, X, M) / (2 * bandwidth**2)) @ alpha
        # grad f_c(x_j) = sum_i alpha_ic K_ij M (x_i - x_j) / L^2
        terms = (alpha[:, :, None] * XM[:, None, :]).reshape(n, -1)
        gradients = (K.T @ terms).reshape(n, c, -1)
        gradients -= (K.T @ alpha)[:, :, None] * XM[:, None, :]
        gradients /= bandwidth**2
    gradients -= gradients.mean(axis=0)
    flat = gradients.reshape(n * c, -1)
    eigenvalues, vectors = np.linalg.eigh(flat.T @ flat / n)
    return outputs, (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T


def _squared_distances(X, Z, M):
    XM, ZM = X @ M, Z @ M
    q_x, q_z = (XM * X).sum(axis=1), (ZM * Z).sum(axis=1)
    return np.maximum(q_x[:, None] + q_z[None, :] - 2 * XM @ Z.T, 0)
