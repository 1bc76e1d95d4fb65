"""Networks: gradients, parity of the compiled loop with the arrays, its bindings."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from cases import assert_close
from grokrfm import _cpu
from grokrfm.operations import networks
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.networks import ACTIVATIONS, Network, Training, initial_network
from grokrfm.operations.reference import ArrayOperations, network_rows
from hypothesis import given, settings
from hypothesis import strategies as st

REFERENCE, CPP = ArrayOperations(), CppOperations()


@dataclass
class Problem:
    """A network and data for it; `transform` mixes the inputs or is None."""

    training: Training
    network: Network
    inputs: np.ndarray
    labels: np.ndarray
    transform: np.ndarray | None

    def astype(self, dtype):
        transform = None if self.transform is None else self.transform.astype(dtype)
        network = self.network.map(lambda array: array.astype(dtype))
        return replace(self, network=network, transform=transform)

    def epoch(self, operations):
        return operations.network_epoch(
            self.training, self.network, self.inputs, self.labels, self.transform
        )

    @property
    def rows(self):
        return network_rows(np, self.network, self.inputs, self.transform)

    def loss(self, network):
        return networks.loss(np, self.training, network, self.rows, self.labels)


def make_problem(
    seed=0, *, p=5, h=9, c=4, n=17, transformed=False, activation="quadratic", **settings
):
    rng = np.random.default_rng(seed)
    given = {"optimizer": "adamw", "learning_rate": 1e-2, "weight_decay": 0.3, "batch_size": n}
    training = Training(activation, **{**given, "agop_penalty": 0.0, **settings})
    network = initial_network(2 * p, h, c, training, 2.0, seed, "float64")
    inputs = rng.integers(0, p, size=(n, 2)) + np.array([0, p])
    return Problem(
        training,
        network,
        inputs.astype(np.int32),
        rng.integers(0, c, n).astype(np.int32),
        rng.normal(size=(2 * p, 2 * p)) / np.sqrt(2 * p) if transformed else None,
    )


def finite_differences(problem):
    """Gradient of the loss in both weights, by central differences."""
    step = 1e-6
    result = []
    for name in ("first", "second"):
        weights = getattr(problem.network, name)
        gradient = np.empty_like(weights)
        for at in np.ndindex(weights.shape):
            change = np.zeros_like(weights)
            change[at] = step
            up, down = (
                problem.loss(replace(problem.network, **{name: weights + sign * change}))
                for sign in (1, -1)
            )
            gradient[at] = (up - down) / (2 * step)
        result.append(gradient)
    return result


@pytest.mark.parametrize("transformed", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_against_finite_differences(activation, penalty, transformed):
    problem = make_problem(
        activation=activation,
        agop_penalty=penalty,
        transformed=transformed,
        optimizer="sgd",
        learning_rate=1.0,
        weight_decay=0.0,
    )
    expected = finite_differences(problem)
    before = problem.network
    for operations in (REFERENCE, CPP):  # one step of SGD at rate 1 subtracts the gradient
        after = problem.epoch(operations)
        for was, now, gradient in zip(
            (before.first, before.second), (after.first, after.second), expected, strict=True
        ):
            assert_close(was - now, gradient, 1e-7)
            assert np.abs(gradient).max() > 1e-3


def test_the_penalty_is_the_trace_of_the_agop():
    for activation in ACTIVATIONS:
        problem = make_problem(activation=activation, agop_penalty=0.7)
        trace = np.trace(networks.network_agop(activation, problem.network, problem.rows))
        bare = replace(problem, training=replace(problem.training, agop_penalty=0.0))
        difference = problem.loss(problem.network) - bare.loss(problem.network)
        assert difference == pytest.approx(0.7 * trace)


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("penalty", [0.0, 1e-2])
@pytest.mark.parametrize("transformed", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_loop_follows_the_arrays_step_by_step(
    activation, transformed, penalty, optimizer, dtype, bound
):
    problem = make_problem(
        3,
        p=7,
        h=45,
        c=7,
        n=60,
        activation=activation,
        transformed=transformed,
        agop_penalty=penalty,
        optimizer=optimizer,
        batch_size=8,
    ).astype(dtype)
    compiled = reference = problem
    for i in range(0, 60, 8):  # the last batch holds four
        batch = slice(i, i + 8)
        compiled, reference = (
            replace(
                side,
                network=replace(
                    side, inputs=problem.inputs[batch], labels=problem.labels[batch]
                ).epoch(operations),
            )
            for side, operations in ((compiled, CPP), (reference, REFERENCE))
        )
        assert compiled.network.steps == reference.network.steps == i // 8 + 1
        for name in ("first", "second"):
            assert_close(getattr(compiled.network, name), getattr(reference.network, name), bound)
    whole = problem.epoch(CPP)
    np.testing.assert_array_equal(whole.first, compiled.network.first)
    assert whole.steps == compiled.network.steps
    outputs = [
        operations.network_outputs(activation, whole, problem.inputs, problem.transform)
        for operations in (CPP, REFERENCE)
    ]
    assert_close(*outputs, bound)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 9),
    st.integers(1, 150),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 50),
    st.sampled_from(list(ACTIVATIONS)),
    st.sampled_from([0.0, 0.1]),
    st.booleans(),
)
def test_parity_for_random_sizes(seed, p, h, c, n, batch_size, activation, penalty, transformed):
    problem = make_problem(
        seed,
        p=p,
        h=h,
        c=c,
        n=n,
        batch_size=batch_size,
        activation=activation,
        agop_penalty=penalty,
        transformed=transformed,
    )
    compiled, reference = problem.epoch(CPP), problem.epoch(REFERENCE)
    # Where a gradient is all rounding errors AdamW turns them into steps of full length.
    bound = 1e-6
    assert_close(compiled.first, reference.first, bound)
    assert_close(compiled.second, reference.second, bound)


@pytest.mark.parametrize("penalty", [0.0, 1e-2])
def test_any_number_of_threads(penalty):
    problem = make_problem(p=7, h=150, c=7, n=60, batch_size=8, agop_penalty=penalty)
    settings = vars(problem.training).copy()
    del settings["optimizer"]
    results = []
    for threads in (1, 2, 3, 7):
        after = problem.network.map(np.copy)
        _cpu.network_epoch(
            **settings,
            first=after.first,
            second=after.second,
            moments=after.moments,
            inputs=problem.inputs,
            labels=problem.labels[:, None],
            transform=None,
            steps=0,
            threads=threads,
        )
        results.append(after)
    for result in results[1:]:
        assert_close(result.first, results[0].first, 1e-9)
        assert_close(result.second, results[0].second, 1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agop_is_the_mean_outer_product_of_jacobians(activation):
    problem = make_problem(activation=activation, transformed=True)
    X, network = problem.rows, problem.network
    step = 1e-6
    jacobian = np.stack(
        [
            networks.outputs(activation, network, X + step * e)
            - networks.outputs(activation, network, X - step * e)
            for e in np.eye(10)
        ],
        axis=1,
    ) / (2 * step)  # (n, d, c)
    expected = np.einsum("jac,jbc->cab", jacobian, jacobian) / len(X)
    per_class = networks.network_class_agops(np, activation, network, X)
    assert_close(per_class, expected, 1e-7)
    assert_close(networks.network_agop(activation, network, X), per_class.sum(axis=0), 1e-12)


def test_bindings_refuse_what_they_cannot_take():
    problem = make_problem()
    settings = vars(problem.training).copy()
    del settings["optimizer"]
    good = {
        **settings,
        "first": problem.network.first,
        "second": problem.network.second,
        "moments": problem.network.moments,
        "inputs": problem.inputs,
        "labels": problem.labels[:, None],
        "transform": None,
        "steps": 0,
    }
    for change, error, message in [
        ({"activation": "tanh"}, ValueError, "activation: unknown name 'tanh'"),
        ({"second": good["second"][:, :5].copy()}, ValueError, r"second: expected shape \(4, 9\)"),
        ({"moments": good["moments"][:3]}, ValueError, "moments: expected four arrays or none"),
        ({"inputs": good["inputs"] - 1}, ValueError, "inputs: expected two indices in every row"),
        ({"inputs": good["inputs"].astype(np.int64)}, TypeError, "inputs: expected dtype int32"),
        ({"labels": good["labels"] + 4}, ValueError, r"labels: expected labels in \[0, 4\)"),
        ({"transform": np.eye(3)}, ValueError, r"transform: expected shape \(10, 10\)"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1"),
        ({"first": good["first"].astype(int)}, TypeError, "first: expected dtype float32 or"),
    ]:
        with pytest.raises(error, match=message):
            _cpu.network_epoch(**{**good, **change})
