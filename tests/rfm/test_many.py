"""Many runs: those that go together are the runs alone, whatever comes in between."""

import numpy as np
import pytest
from cases import assert_close
from grokrfm import FeatureMeasures, ModularTask, RFMClassifier, fit_many


def splits(p, operation="x+y"):
    return [
        ModularTask(operation, p).split(fraction, seed)
        for fraction, seed in ((0.5, 0), (0.5, 1), (0.4, 2), (0.62, 3))
    ]


@pytest.mark.parametrize("kernel", ["quadratic", "general_quadratic"])
def test_runs_together_are_the_runs_alone(backend, kernel):
    options = {"kernel": kernel, "iterations": 6, "solver": "cg", "dtype": "float64", "tol": 1e-8}
    together, alone = (
        fit_many([RFMClassifier(17, backend=name, **options) for _ in range(4)], splits(17))
        for name in (backend, "cpp")
    )
    seconds = np.stack([model.history_["seconds"] for model in together])
    if backend == "cuda":  # a share of the common
        np.testing.assert_array_equal(seconds, seconds[:1].repeat(4, axis=0))
    for ours, theirs, split in zip(together, alone, splits(17), strict=True):
        for key in set(theirs.history_) - {"seconds", "cg_iterations", "residual"}:
            np.testing.assert_allclose(
                ours.history_[key], theirs.history_[key], rtol=1e-5, atol=1e-7, err_msg=key
            )
        assert ours.history_["residual"].max() <= 1e-8
        assert_close(ours.feature_matrices_, theirs.feature_matrices_, 1e-6)
        assert_close(ours.dual_coef_, theirs.dual_coef_, 1e-5)
        assert ours.score(split.X_test, split.y_test) == ours.history_["test_accuracy"][-1]


def test_runs_of_different_parameters_go_one_after_the_other(backend):
    models = [
        RFMClassifier(7, iterations=1, backend=backend),  # too few pairs for solver="cg"
        RFMClassifier(7, iterations=2, backend="numpy"),
        RFMClassifier(7, iterations=1, backend=backend),
    ]
    fitted = fit_many(models, splits(7)[:3])
    assert fitted == models
    assert [model.n_iter_ for model in fitted] == [1, 2, 1]
    for model, split in zip(fitted, splits(7), strict=False):
        np.testing.assert_array_equal(model.X_train_, split.X_train)
    with pytest.raises(ValueError, match="splits: expected one a model, 3, got 2"):
        fit_many(models, splits(7)[:2])


OPTIONS = {"iterations": 6, "solver": "cg", "dtype": "float64", "tol": 1e-8}


def models(backend, count=3, **options):
    return [RFMClassifier(17, backend=backend, **{**OPTIONS, **options}) for _ in range(count)]


def test_each_run_has_its_own_callbacks_and_start(backend):
    starts = [None, np.diag(np.linspace(1, 2, 34)), None]
    seen = [[], [], []]

    def watch(run):
        return lambda current: seen[run].append(current.iteration)

    callbacks = [
        [watch(0)],
        [watch(1), lambda current: current.iteration == 2],
        [watch(2), FeatureMeasures("x+y")],
    ]
    together = fit_many(models(backend), splits(17)[:3], callbacks, starts)
    assert seen == [list(range(7)), list(range(3)), list(range(7))]
    assert [model.n_iter_ for model in together] == [6, 2, 6]
    assert ["circulant_energy" in model.history_ for model in together] == [False, False, True]
    for model, split, start, iterations in zip(
        together, splits(17), starts, (6, 2, 6), strict=False
    ):
        alone = RFMClassifier(17, backend="cpp", **{**OPTIONS, "iterations": iterations})
        alone.fit(split.X_train, split.y_train, (split.X_test, split.y_test), feature_matrix=start)
        assert_close(model.feature_matrices_, alone.feature_matrices_, 1e-6)
        assert_close(model.dual_coef_, alone.dual_coef_, 1e-5)
        np.testing.assert_allclose(
            model.history_["feature_alignment"], alone.history_["feature_alignment"], rtol=1e-6
        )


def test_runs_go_on_from_their_checkpoints(backend):
    stored = {}

    def store(run):
        def callback(current):
            if current.iteration == 3:
                stored[run] = current.checkpoint()

        return [callback]

    whole = fit_many(models(backend), splits(17)[:3], [store(run) for run in range(3)])
    # The last one begins anew: it goes by itself.
    resumed = fit_many(models(backend), splits(17)[:3], checkpoints=[stored[0], stored[1], None])
    for run, (expected, actual) in enumerate(zip(whole, resumed, strict=True)):
        same = np.testing.assert_array_equal if run < 2 else np.testing.assert_allclose
        for key in set(expected.history_) - {"seconds", "residual", "cg_iterations"}:
            same(actual.history_[key], expected.history_[key])
        assert_close(actual.dual_coef_, expected.dual_coef_, 1e-6)
    # One of them alone goes on with the state that it had among the others.
    split = splits(17)[1]
    alone = models("cpp", 1)[0].fit(
        split.X_train, split.y_train, (split.X_test, split.y_test), checkpoint=stored[1]
    )
    assert_close(alone.feature_matrices_, whole[1].feature_matrices_, 1e-6)


def test_an_exception_keeps_completed_rounds(backend):
    def fail(current):
        if current.iteration == 2:
            raise KeyboardInterrupt

    fitted = models(backend)
    early = [lambda current: current.iteration == 1]
    with pytest.raises(KeyboardInterrupt):
        fit_many(fitted, splits(17)[:3], [early, [], [fail]])
    assert [model.n_iter_ for model in fitted] == [1, 2 if backend == "cuda" else 6, 2]
    for model, split in zip(fitted, splits(17), strict=False):
        outputs = model.decision_function(split.X_train)
        np.testing.assert_allclose(outputs, np.eye(17)[split.y_train], atol=1e-6)


def test_one_entry_a_model():
    with pytest.raises(ValueError, match="callbacks: expected one a model, 2, got 1"):
        fit_many(models("cpp", 2), splits(17)[:2], callbacks=[[]])
    with pytest.raises(ValueError, match="checkpoints: expected one a model, 2, got 3"):
        fit_many(models("cpp", 2), splits(17)[:2], checkpoints=[None] * 3)
