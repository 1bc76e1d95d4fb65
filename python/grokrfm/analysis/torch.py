"""AGOP of your own networks: any differentiable PyTorch module. Needs `grokrfm[torch]`."""

from __future__ import annotations

from collections.abc import Callable

try:
    import torch
except ImportError as error:
    raise ImportError("grokrfm.torch needs PyTorch, pip install 'grokrfm[torch]'") from error

from ..checks import check_integer

__all__ = ["agop"]


def agop(
    module: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    *,
    per_class: bool = False,
    batch_size: int = 1024,
) -> torch.Tensor:
    """Average gradient outer product 1/n Σ_j J_j J_jᵀ of a module over inputs, uncentred.

    The square root of the result goes into `grokrfm.features` like any feature matrix; for pairs of
    residues the inputs are `torch.eye(p)[pairs].flatten(1)`. A model of tokens is wrapped so that
    it starts from them: `lambda x: model.after_embedding(x @ embedding.weight)`.

    Parameters
    ----------
    module : callable
        Maps inputs (m, ...) to outputs (m, c), each row from its own input alone: put modules with
        batch normalisation or dropout into `eval()` first. Its parameters and their gradients are
        left alone.
    inputs : Tensor of floating dtype, shape (n, ...)
        On the module's device; all axes but the first are flattened to d entries.
    per_class : bool
        Whether to keep the outputs apart.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    Tensor, shape (d, d), or (c, d, d) if `per_class`
        In the dtype and on the device of the inputs.

    Raises
    ------
    TypeError, ValueError
        For inputs that are not a floating tensor of at least one row, or outputs that are not
        (m, c) or do not depend on the inputs differentiably.

    Notes
    -----
    One vector-Jacobian product gives the gradients of an output at all inputs of a batch, and its
    outer products are added before the next: memory for batch_size × d numbers beside the graph,
    never n × c × d; c backward passes and 2 n c d² flops.
    """
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        got = inputs.dtype if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise TypeError(f"inputs: expected a tensor of floating dtype, got {got}")
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise ValueError(f"inputs: expected shape (n, ...), n >= 1, got {tuple(inputs.shape)}")
    check_integer("batch_size", batch_size, minimum=1)
    sums: list[torch.Tensor] = []
    with torch.enable_grad():
        for start in range(0, len(inputs), batch_size):
            points = inputs[start : start + batch_size].detach().clone().requires_grad_(True)
            outputs = module(points)
            _check_outputs(outputs, len(points))
            for c in range(outputs.shape[1]):
                (gradient,) = torch.autograd.grad(
                    outputs[:, c].sum(), points, retain_graph=True, materialize_grads=True
                )
                gradient = gradient.flatten(1)
                slot = c if per_class else 0
                if slot == len(sums):
                    sums.append(gradient.new_zeros(gradient.shape[1], gradient.shape[1]))
                sums[slot].addmm_(gradient.T, gradient)
    total = torch.stack(sums) if per_class else sums[0]
    return total / len(inputs)


def _check_outputs(outputs: torch.Tensor, rows: int) -> None:
    if outputs.ndim != 2 or len(outputs) != rows or outputs.shape[1] == 0:
        raise ValueError(
            f"module: expected outputs of shape ({rows}, c) for {rows} inputs, "
            f"got {tuple(outputs.shape)}"
        )
    if not outputs.requires_grad:
        raise ValueError("module: expected outputs that depend on the inputs differentiably")
