"""Checks the parameters of the estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..operations import (
    BACKENDS,
    KERNELS,
    CustomKernel,
    Kernel,
    array_backend,
    check_custom_kernel,
    make_kernel,
)
from ..tasks import input_dimension
from ..training import DTYPES, check_classes
from .sampling import Sampling
from .settings import Settings
from .solvers import SOLVERS

CENTERINGS = ("per_class", "none")
FEATURE_UPDATES = ("agop", "fact")
MAX_DEPTH = 100  # every entry of the kernel matrix takes so many steps


def check_keep_features(value: Any) -> int | None:
    """Return how many rounds lie between kept feature matrices, None for the last one alone."""
    if not isinstance(value, str):
        return checks.check_integer("keep_features", value, minimum=1)
    if value not in ("all", "last"):
        raise ValueError(f"keep_features: expected 'all', 'last' or an integer, got {value!r}")
    return 1 if value == "all" else None


def check_settings(given: Any) -> Settings:
    """Return the parameters of an `RFMClassifier` as what they stand for; raises for a bad one."""
    p = checks.check_integer("modulus", given.modulus, minimum=2)
    custom = given.kernel if isinstance(given.kernel, CustomKernel) else None
    if custom is None:
        checks.check_one_of("kernel", given.kernel, KERNELS)
    iterations = checks.check_integer("iterations", given.iterations, minimum=0)
    bandwidth = checks.check_real("bandwidth", given.bandwidth, positive=True)
    ridge = checks.check_real("ridge", given.ridge)
    agop_power = checks.check_real("agop_power", given.agop_power, positive=True)
    checks.check_one_of("centering", given.centering, CENTERINGS)
    backend = checks.check_one_of("backend", given.backend, BACKENDS)
    solver = checks.check_one_of("solver", given.solver, SOLVERS)
    dtype = checks.check_one_of("dtype", given.dtype, DTYPES)
    largest = float(np.finfo(dtype).max)
    if ridge > largest:
        raise ValueError(f"ridge: expected a number of {dtype}, <= {largest:.1e}, got {ridge}")
    tolerance = checks.check_real("tol", given.tol, positive=True)
    depth = checks.check_integer("depth", given.depth, minimum=1, maximum=MAX_DEPTH)
    n_tasks = checks.check_integer("n_tasks", given.n_tasks, minimum=1)
    kernel: Kernel
    if custom is not None:
        backend = array_backend(backend)
        check_custom_kernel(custom)
        kernel = custom
    else:
        dimension = input_dimension(p, n_tasks)
        kernel = make_kernel(
            str(given.kernel), bandwidth=bandwidth, depth=depth, dimension=dimension
        )
    n_classes = check_classes(given.n_classes, p)
    update = checks.check_one_of("feature_update", given.feature_update, FEATURE_UPDATES)
    sampling = _check_sampling(given, n_classes)
    if sampling and update == "fact":
        raise ValueError(
            "agop_classes: expected None with feature_update='fact', which takes all classes, "
            f"got {given.agop_classes}"
        )
    return Settings(
        parameters=given.plain_params(),
        modulus=p,
        n_tasks=n_tasks,
        backend=backend,
        solver=solver,
        kernel=kernel,
        n_classes=n_classes,
        iterations=iterations,
        agop_power=agop_power,
        ridge=ridge,
        centred=given.centering == "per_class",
        fact=update == "fact",
        tolerance=tolerance,
        dtype=np.dtype(dtype),
        sampling=sampling,
        keep_every=check_keep_features(given.keep_features),
    )


def _check_sampling(given: Any, n_classes: int) -> Sampling | None:
    """Return what a run draws, None for an exact one."""
    seed = checks.check_integer("seed", given.seed, minimum=0)
    if given.agop_classes is None:
        if given.eval_pairs is not None:
            raise ValueError(
                "eval_pairs: expected None without agop_classes, a run that solves for all "
                f"classes evaluates all pairs; got {given.eval_pairs!r}"
            )
        return None
    drawn = checks.check_integer("agop_classes", given.agop_classes, minimum=1, maximum=n_classes)
    pairs = given.eval_pairs
    if pairs is not None:
        pairs = checks.check_integer("eval_pairs", pairs, minimum=0)
        if given.solver == "cholesky":
            raise ValueError(
                "eval_pairs: expected None with solver='cholesky', which solves for all "
                f"classes; got {pairs}"
            )
    return Sampling(drawn, pairs, seed)
