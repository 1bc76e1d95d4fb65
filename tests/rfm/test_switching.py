"""Runs that conjugate gradients cannot solve to their end go on with Cholesky, and say so."""

import warnings

import numpy as np
import pytest
from grokrfm import ModularTask, RFMClassifier, SolverWarning, fit_many, load
from grokrfm.operations import memory
from grokrfm.rfm import solvers

# Residues x and -x become alike: M, and with it the kernel matrix, ever more nearly singular.
TASK = ModularTask("x^2+y^2", 23)
SPLIT = TASK.split()
LINE = "conjugate gradients missed the tolerance; from here on Cholesky in double precision"


@pytest.fixture(autouse=True)
def small_runs_take_conjugate_gradients(monkeypatch):
    monkeypatch.setattr(solvers, "AUTO_CG_PAIRS", 0)


def make(**parameters):
    return RFMClassifier.for_task(TASK, **{"iterations": 14, **parameters})


def fit(callbacks=(), checkpoint=None, **parameters):
    """A model, and what was said."""
    model = make(**parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(SPLIT, callbacks=callbacks, checkpoint=checkpoint)
    return model, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_goes_on_with_cholesky_in_double_precision(dtype, backend):
    model, said = fit(dtype=dtype, backend=backend)
    switched, steps = model.history_["solver_fallback"], model.history_["cg_iterations"]
    first = int(switched.argmax())
    assert 8 <= first <= 12 and switched.tolist() == [0] * first + [1] * (15 - first)
    assert said == [f"iteration {first}: {LINE}."]
    assert (steps[:first] > 0).all() and (steps[first:] == 0).all() and model.solver_ == "cg"
    assert model.history_["residual"][:first].max() <= 4e-5
    assert model.history_["residual"][first:].max() <= 1e-12
    assert model.dual_coef_.dtype == model.feature_matrix_.dtype == dtype
    assert model.score(SPLIT.X_test, SPLIT.y_test) == model.history_["test_accuracy"][-1]
    missed = model.decision_function(SPLIT.X_train) - np.eye(TASK.n_classes)[SPLIT.y_train]
    assert np.abs(missed).max() <= (1e-4 if dtype == "float32" else 1e-10)
    exact, _ = fit(solver="cholesky", dtype="float64")
    np.testing.assert_allclose(model.history_["test_mse"], exact.history_["test_mse"], rtol=1e-3)


def test_named_it_stays_and_complains():
    model, [said] = fit(solver="cg")
    history = model.history_
    assert (history["solver_fallback"] == 0).all() and history["residual"].max() > 4e-5
    assert "above the tolerance" in said and "later iterations" in said
    assert history["cg_iterations"].max() < 1000  # none went on to the end


def test_every_checkpoint_goes_on_to_the_same_end():
    stored = []
    whole, _ = fit([lambda current: stored.append(current.checkpoint())])
    first = int(whole.history_["solver_fallback"].argmax())
    for t in (first - 2, first - 1, first, first + 1, 14):
        resumed, said = fit(checkpoint=stored[t])
        for key in set(whole.history_) - {"seconds"}:
            np.testing.assert_array_equal(resumed.history_[key], whole.history_[key])
        np.testing.assert_array_equal(resumed.feature_matrices_, whole.feature_matrices_)
        np.testing.assert_array_equal(resumed.dual_coef_, whole.dual_coef_)
        assert len(said) == (t < first)


def test_rounds_after_the_switch_are_solved_anew_as_they_were(tmp_path):
    model, _ = fit()
    model.save(tmp_path / "model.npz")
    for each in (model, load(tmp_path / "model.npz")):
        earlier = each.at_iteration(13)
        assert earlier.history_["solver_fallback"] == 1 and earlier.history_["residual"] <= 1e-12
        accuracy = earlier.score(SPLIT.X_test, SPLIT.y_test)
        assert accuracy == model.history_["test_accuracy"][13]
        assert each.at_iteration(2).history_["solver_fallback"] == 0


def test_an_interrupt_keeps_completed_rounds():
    def interrupt(current):
        if current.iteration == 13:
            raise KeyboardInterrupt

    whole, _ = fit(iterations=13)
    model = make()
    with pytest.raises(KeyboardInterrupt):
        model.fit(SPLIT, callbacks=[interrupt])
    assert model.n_iter_ == 13 and model.history_["solver_fallback"][-1] == 1
    np.testing.assert_array_equal(model.dual_coef_, whole.dual_coef_)


def test_without_room_for_the_kernel_matrix_it_stays(monkeypatch):
    """As before: the best that conjugate gradients can do, and a complaint."""
    monkeypatch.setattr(memory, "available_bytes", lambda: (16 << 20) + 264**2 * 8)
    model, [said] = fit()
    assert (model.history_["solver_fallback"] == 0).all() and "above the tolerance" in said


def test_of_runs_in_step_each_switches_alone(backend):
    """One after the other leaves; those that stay go on together, and one is stopped meanwhile."""
    task = ModularTask("x^2+y^2", 13)
    given = [task.split(fraction) for fraction in (0.8, 0.5, 0.6, 0.7)]
    closed = []

    class Stop:
        def __call__(self, current):
            return current.iteration == 6

        def close(self):
            closed.append(0)

    options = {"iterations": 8, "dtype": "float64", "tol": 1e-8}
    together, alone = (
        [RFMClassifier.for_task(task, backend=name, **options) for _ in given]
        for name in (backend, "cpp")
    )
    with pytest.warns(SolverWarning, match=LINE) as said:
        fit_many(together, given, callbacks=[(), (), [Stop()], ()])
    assert [model.n_iter_ for model in together] == [8, 8, 6, 8] and closed == [0]
    switched = [int(model.history_["solver_fallback"].sum()) for model in together]
    # Rounding errors may tip a round over the limit or not.
    assert switched[0] in (4, 5, 6) and switched[1:3] == [0, 0] and switched[3] in (1, 2)
    assert len(said) == 2
    for ours, theirs, split in zip(together, alone, given, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SolverWarning)
            theirs.fit(split)
        expected = theirs.history_["test_mse"][: ours.n_iter_ + 1]
        np.testing.assert_allclose(ours.history_["test_mse"], expected, rtol=1e-5)
        assert ours.history_["residual"].max() <= 1e-8 and (ours.history_["seconds"] > 0).all()
