"""Networks f(x) = W₂ φ(W₁ x) without bias: outputs, gradients and optimiser steps on arrays.

The reference on NumPy and, by the same source, the path on GPUs. Inputs come as rows, (n, d). W₁ is
kept transposed, (d, h), since the compiled loop looks up its rows (csrc/network.h).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Activation:
    """φ, φ′ and φ″, which is constant for all of these."""

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    curvature: float


ACTIVATIONS = {
    "quadratic": Activation(lambda z: z * z, lambda z: 2 * z, 2.0),
    "relu": Activation(lambda z: z * (z > 0), lambda z: (z > 0).astype(z.dtype), 0.0),
    # of mean 0 and variance 1 for Gaussian z
    "hermite": Activation(lambda z: (z * z - 1) * 0.5**0.5, lambda z: 2**0.5 * z, 2**0.5),
}
OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    `agop_penalty` weighs tr(AGOP) of the batch in the loss. "adamw" is Adam with decoupled weight
    decay and bias correction, "sgd" adds the decay to the gradient, both as PyTorch has them.
    """

    activation: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    agop_penalty: float
    batch_size: int
    beta_mean: float = 0.9
    beta_square: float = 0.98
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Network:
    """Weights and state of the optimiser, on the device.

    Attributes
    ----------
    first, second : array, shape (d, h) and (c, h)
        W₁ᵀ and W₂.
    moments : tuple of array
        Of AdamW: mean and mean square of the gradient of `first`, then of `second`; () for SGD.
    steps : int
        Optimiser steps done.
    """

    first: Any
    second: Any
    moments: tuple[Any, ...] = ()
    steps: int = 0

    def map(self, convert: Callable[[Any], Any]) -> Network:
        """Return the network with every array converted."""
        moments = tuple(convert(moment) for moment in self.moments)
        return Network(convert(self.first), convert(self.second), moments, self.steps)


def initial_network(
    d: int, h: int, c: int, training: Training, scale: float, seed: int, dtype: Any
) -> Network:
    """Weights from U(±scale/√fan_in), the same numbers for every dtype; NumPy arrays."""
    rng = np.random.default_rng(seed)
    W1 = rng.uniform(-1, 1, size=(h, d)) * scale / np.sqrt(d)
    W2 = rng.uniform(-1, 1, size=(c, h)) * scale / np.sqrt(h)
    first, second = W1.T.astype(dtype, order="C"), W2.astype(dtype)
    moments = tuple(np.zeros_like(w) for w in (first, first, second, second))
    return Network(first, second, moments if training.optimizer == "adamw" else ())


def outputs(activation: str, network: Network, X: Any) -> Any:
    """f(x_i), (n, c)."""
    return ACTIVATIONS[activation].value(X @ network.first) @ network.second.T


def slope_moment(activation: str, network: Network, X: Any) -> Any:
    """S = φ′(Z)ᵀ φ′(Z) / n with Z = X W₁ᵀ, (h, h)."""
    slopes = ACTIVATIONS[activation].slope(X @ network.first)
    return slopes.T @ slopes / len(X)


def loss(xp: Any, training: Training, network: Network, X: Any, labels: Any) -> float:
    """Mean of (f_c − 1[c = y])² over inputs and classes, plus agop_penalty · tr(AGOP)."""
    F = outputs(training.activation, network, X)
    F[xp.arange(len(X)), labels] -= 1
    value = float((F * F).mean())
    if training.agop_penalty:
        W1, W2 = network.first.T, network.second
        S = slope_moment(training.activation, network, X)
        value += training.agop_penalty * float(((W2.T @ W2) * (W1 @ W1.T) * S).sum())
    return value


def gradients(xp: Any, training: Training, network: Network, X: Any, labels: Any) -> Any:
    """Gradients of `loss` in W₁ᵀ, (d, h), and W₂, (c, h).

    With A = W₂ᵀW₂, B = W₁W₁ᵀ and S of `slope_moment`, tr(AGOP) = Σ (A∘B∘S) has the gradients
    2 (A∘S) W₁ and 2 W₂ (B∘S), and through Z (2/n) φ″(Z) ∘ (φ′(Z) (A∘B)).
    """
    phi = ACTIVATIONS[training.activation]
    Z = X @ network.first
    hidden, slopes = phi.value(Z), phi.slope(Z)
    errors = hidden @ network.second.T
    errors[xp.arange(len(X)), labels] -= 1
    errors *= 2 / errors.size
    d_second = errors.T @ hidden
    d_Z = (errors @ network.second) * slopes
    d_first = 0.0
    if training.agop_penalty:
        weight = 2 * training.agop_penalty
        A, B = network.second.T @ network.second, network.first.T @ network.first
        S = slopes.T @ slopes / len(X)
        d_second += weight * network.second @ (B * S)
        d_first = weight * network.first @ (A * S)
        d_Z += weight / len(X) * phi.curvature * (slopes @ (A * B))
    return X.T @ d_Z + d_first, d_second


def step(xp: Any, training: Training, network: Network, X: Any, labels: Any) -> Network:
    """One step of the optimiser on a batch."""
    steps = network.steps + 1
    d_first, d_second = gradients(xp, training, network, X, labels)
    if training.optimizer == "sgd":
        first = _sgd(training, network.first, d_first)
        return Network(first, _sgd(training, network.second, d_second), (), steps)
    first, *of_first = _adamw(xp, training, steps, network.first, d_first, *network.moments[:2])
    second, *of_second = _adamw(xp, training, steps, network.second, d_second, *network.moments[2:])
    return Network(first, second, (*of_first, *of_second), steps)


def _sgd(training: Training, weights: Any, gradient: Any) -> Any:
    return weights - training.learning_rate * (gradient + training.weight_decay * weights)


def _adamw(
    xp: Any, training: Training, steps: int, weights: Any, gradient: Any, mean: Any, square: Any
) -> tuple[Any, Any, Any]:
    """Weights, mean and mean square after the step number `steps`."""
    rate = training.learning_rate
    mean = mean + (1 - training.beta_mean) * (gradient - mean)
    square = training.beta_square * square + (1 - training.beta_square) * gradient * gradient
    mean_rate = rate / (1 - training.beta_mean**steps)
    root_scale = (1 - training.beta_square**steps) ** -0.5
    change = mean_rate * mean / (xp.sqrt(square) * root_scale + training.epsilon)
    return (1 - rate * training.weight_decay) * weights - change, mean, square


def epoch(xp: Any, training: Training, network: Network, X: Any, labels: Any) -> Network:
    """Steps through the inputs, a batch at a time, in the order given; the last may be smaller."""
    with np.errstate(over="ignore", invalid="ignore"):  # of a network that diverges
        for i in range(0, len(X), training.batch_size):
            batch = slice(i, i + training.batch_size)
            network = step(xp, training, network, X[batch], labels[batch])
    return network


def network_agop(activation: str, network: Network, X: Any) -> Any:
    """AGOP = 1/n Σ_j J_j J_jᵀ = W₁ᵀ ((W₂ᵀW₂) ∘ S) W₁ over the inputs X, (d, d)."""
    S = slope_moment(activation, network, X)
    G = network.first @ ((network.second.T @ network.second) * S) @ network.first.T
    return 0.5 * (G + G.T)


def network_class_agops(xp: Any, activation: str, network: Network, X: Any) -> Any:
    """AGOP of each output, W₁ᵀ ((w_c w_cᵀ) ∘ S) W₁ with w_c the row c of W₂, (c, d, d)."""
    S = slope_moment(activation, network, X)
    result = xp.empty((len(network.second), *2 * network.first.shape[:1]), network.first.dtype)
    for G, w in zip(result, network.second, strict=True):
        weighted = network.first * w
        G[...] = weighted @ S @ weighted.T
    return result


def network_fact(xp: Any, activation: str, network: Network, X: Any, labels: Any) -> Any:
    """−Σ_j ∇ℓ_j x_jᵀ of half the squared errors ℓ_j over the inputs X, (d, d).

    By n λ what the Features at Convergence Theorem (`fact`) says that W₁ᵀW₁ is, at the end of a
    training with weight decay λ. As the gradient of the loss by W₁, it is −W₁ᵀ ∂ℓ/∂W₁.
    """
    phi, Z = ACTIVATIONS[activation], X @ network.first
    errors = phi.value(Z) @ network.second.T
    errors[xp.arange(len(X)), labels] -= 1
    return -network.first @ (((errors @ network.second) * phi.slope(Z)).T @ X)
