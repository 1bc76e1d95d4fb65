"""AGOP of torch modules, against closed forms and whole Jacobians."""

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask

torch = pytest.importorskip("torch", reason="PyTorch is not installed (grokrfm[torch])")

from grokrfm.torch import agop  # noqa: E402

PHI = {
    "quadratic": lambda z: z**2,
    "relu": torch.relu,
    "hermite": lambda z: (z**2 - 1) / 2**0.5,
}


def whole_jacobian(module, inputs):
    """AGOP of each output from the n × c × d array."""
    rows = [
        torch.autograd.functional.jacobian(lambda x: module(x[None])[0], x).flatten(1)
        for x in inputs
    ]
    J = torch.stack(rows)
    return torch.einsum("nca,ncb->cab", J, J) / len(inputs)


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize("dtype, bound", [("float64", 1e-12), ("float32", 1e-5)])
def test_agrees_with_the_closed_forms(activation, dtype, bound):
    split = ModularTask("x+y", 11).split()
    model = FCNClassifier(11, hidden_width=30, activation=activation, epochs=2, dtype=dtype)
    model.fit(split.X_train, split.y_train)
    W1, W2 = (torch.from_numpy(weights) for weights in model.network_.weights())
    inputs = torch.eye(11, dtype=W1.dtype)[torch.from_numpy(split.X_train)].flatten(1)

    def module(x):
        return PHI[activation](x @ W1.T) @ W2.T

    result = agop(module, inputs, batch_size=7)
    assert result.dtype == W1.dtype and result.device == inputs.device
    expected = model.network_.agop()
    np.testing.assert_allclose(result.numpy(), expected, atol=bound * np.abs(expected).max())
    expected = model.network_.class_agops()
    np.testing.assert_allclose(
        agop(module, inputs, per_class=True).numpy(), expected, atol=bound * expected.max()
    )


def test_transformer_with_an_input_of_several_axes():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=torch.float64)
    head = torch.nn.Linear(8, 5, dtype=torch.float64)
    model = torch.nn.Sequential(layer, head).eval()
    inputs = torch.randn(9, 2, 8, dtype=torch.float64)

    def module(x):
        return model(x)[:, -1]

    with torch.no_grad():  # gradients are taken all the same
        result = agop(module, inputs, per_class=True, batch_size=4)
    expected = whole_jacobian(module, inputs)
    assert result.shape == (5, 16, 16) and not result.requires_grad
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(agop(module, inputs), expected.sum(0))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not inputs.requires_grad


def test_an_output_that_ignores_the_inputs_adds_nothing():
    def module(x):
        return torch.stack([x.sum(1), torch.ones(len(x), requires_grad=True)], dim=1)

    result = agop(module, torch.zeros(3, 2), per_class=True)
    torch.testing.assert_close(result, torch.tensor([[[1.0, 1], [1, 1]], [[0, 0], [0, 0]]]))


@pytest.mark.parametrize(
    "module, inputs, error, message",
    [
        (torch.relu, np.ones((2, 3)), TypeError, "inputs: expected a tensor .* got ndarray"),
        (torch.relu, torch.ones(2, 3).long(), TypeError, "floating dtype, got torch.int64"),
        (torch.relu, torch.ones(3), ValueError, r"inputs: expected shape .*, got \(3,\)"),
        (torch.relu, torch.ones(0, 3), ValueError, r"inputs: expected shape .*, got \(0, 3\)"),
        (lambda x: x.sum(1), torch.ones(2, 3), ValueError, r"shape \(2, c\) .* got \(2,\)"),
        (lambda x: x.detach(), torch.ones(2, 3), ValueError, "module: expected outputs that dep"),
    ],
)
def test_bad_input(module, inputs, error, message):
    with pytest.raises(error, match=message):
        agop(module, inputs)
    with pytest.raises(ValueError, match="batch_size: expected an integer >= 1, got 0"):
        agop(torch.relu, torch.ones(2, 3), batch_size=0)
