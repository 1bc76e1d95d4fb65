"""Training steps of the paper's network, beside the same network in PyTorch on the same CPU.

python -m pytest bench/test_network.py --benchmark-json=bench/results/network.json
"""

import numpy as np
import pytest
from grokrfm import ModularTask
from grokrfm.operations import networks
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.networks import Training, initial_network
from grokrfm.operations.reference import network_rows
from grokrfm.tasks import pair_indices
from machine import paired

torch = pytest.importorskip(
    "torch", reason="NOTHING WAS COMPARED: PyTorch is missing, pip install 'grokrfm[torch]'"
)

P = 61
EPOCHS = 5  # a call: PyTorch's idle threads spin for some milliseconds after it
SETTINGS = {
    "adamw": {"learning_rate": 1e-3, "weight_decay": 1.0},
    "sgd": {"learning_rate": 1.0, "weight_decay": 1e-5},
}


class Theirs:
    """The network in PyTorch: two Linear layers on one-hot rows, one of its optimisers."""

    def __init__(self, network, inputs, labels, optimizer, batch_size, fused):
        dtype = torch.from_numpy(network.first[:1]).dtype
        self.X = torch.from_numpy(network_rows(np, network, inputs))
        self.Y = torch.eye(P, dtype=dtype)[torch.from_numpy(labels).long()]
        (d, h), c = network.first.shape, len(network.second)
        self.layers = [torch.nn.Linear(a, b, bias=False, dtype=dtype) for a, b in ((d, h), (h, c))]
        with torch.no_grad():
            self.layers[0].weight.copy_(torch.from_numpy(network.first.T.copy()))
            self.layers[1].weight.copy_(torch.from_numpy(network.second))
        parameters = [layer.weight for layer in self.layers]
        settings = SETTINGS[optimizer]
        kind, rate, decay = optimizer, settings["learning_rate"], settings["weight_decay"]
        self.optimizer = (
            torch.optim.AdamW(
                parameters, lr=rate, weight_decay=decay, betas=(0.9, 0.98), fused=fused
            )
            if kind == "adamw"
            else torch.optim.SGD(parameters, lr=rate, weight_decay=decay, fused=fused)
        )
        self.batch_size = batch_size

    def step(self, start):
        batch = slice(start, start + self.batch_size)
        self.optimizer.zero_grad()
        outputs = self.layers[1](self.layers[0](self.X[batch]) ** 2)
        loss = torch.nn.functional.mse_loss(outputs, self.Y[batch])
        loss.backward()
        self.optimizer.step()
        return loss

    def epochs(self):
        for _ in range(EPOCHS):
            for start in range(0, len(self.X), self.batch_size):
                self.step(start)


@pytest.mark.parametrize("fused", [False, True], ids=["default", "fused"])
@pytest.mark.parametrize(
    "dtype, optimizer, h, batch_size",
    [("float32", "adamw", 1024, 32), ("float64", "adamw", 1024, 32), ("float32", "sgd", 512, 128)],
)
def test_steps_beside_pytorch(benchmark, dtype, optimizer, h, batch_size, fused):
    """Epochs on the training pairs of x+y mod 61: 6 n h c flops a step in the second layer."""
    operations = CppOperations()
    split = ModularTask("x+y", P).split(0.5, 0)
    inputs, labels = pair_indices(split.X_train, P), split.y_train.astype(np.int32)
    training = Training(
        "quadratic", optimizer, **SETTINGS[optimizer], agop_penalty=0.0, batch_size=batch_size
    )
    initial = initial_network(2 * P, h, P, training, 1.0, 0, dtype)

    def make_theirs():
        return Theirs(initial, inputs, labels, optimizer, batch_size, fused)

    # The same losses over the first hundred steps, before anything is timed.
    network, theirs = initial, make_theirs()
    starts = [start % len(inputs) for start in range(0, 100 * batch_size, batch_size)]
    for start in starts:
        batch = slice(start, start + batch_size)
        X = network_rows(np, network, inputs[batch])
        expected = networks.loss(np, training, network, X, labels[batch])
        network = operations.network_epoch(training, network, inputs[batch], labels[batch])
        loss = float(theirs.step(start).detach())
        np.testing.assert_allclose(loss, expected, rtol=1e-4 if dtype == "float32" else 1e-10)

    steps = EPOCHS * -(-len(inputs) // batch_size)
    theirs = make_theirs()
    state = {"network": initial}

    def ours():
        for _ in range(EPOCHS):
            state["network"] = operations.network_epoch(training, state["network"], inputs, labels)

    seconds = {}
    with operations.device.own_threads() as threads:
        for count in range(1, threads + 1):  # PyTorch's best number of threads
            torch.set_num_threads(count)
            seconds[count] = paired(ours, theirs.epochs, 7)
    best = min(seconds, key=lambda count: np.median(seconds[count][1]))
    mine, baseline = seconds[best]
    benchmark.extra_info |= {
        "dtype": dtype,
        "flops": 6 * EPOCHS * len(inputs) * h * P / steps,
        "seconds": float(np.median(mine)) / steps,
        "baseline_seconds": float(np.median(baseline)) / steps,
        "times_faster_than_baseline": float(np.median(baseline / mine)),
        "steps_a_second": steps / float(np.median(mine)),
        "baseline_steps_a_second": steps / float(np.median(baseline)),
        "baseline_threads": best,
        "threads": threads,
        "torch": torch.__version__,
    }
    benchmark.pedantic(ours, rounds=1)
