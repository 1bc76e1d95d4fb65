"""The progress bar: what it counts, and that it closes however a run ends."""

import io
import sys

import pytest
from grokrfm import FCNClassifier, ModularTask, Progress, RFMClassifier, fit_many

SPLIT = ModularTask("x+y", 7).split()
MODELS = {
    "cg": lambda: RFMClassifier(7, solver="cg", iterations=4),
    "cholesky": lambda: RFMClassifier(7, kernel="gaussian", iterations=4),
    "network": lambda: FCNClassifier(7, hidden_width=8, epochs=4),
}
of_every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@pytest.fixture
def bars(monkeypatch):
    """Every tqdm bar that is made, with its counts and whether it was closed."""
    from tqdm import auto

    made = []

    class Watched(auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, file=io.StringIO(), mininterval=0, **options)
            self.counts, self.closed = [], 0
            made.append(self)

        def update(self, n=1):
            super().update(n)
            self.counts.append(self.n)
            return True  # as tqdm does when it draws

        def close(self):
            super().close()
            self.closed += 1

    monkeypatch.setattr(auto, "tqdm", Watched)
    return made


@of_every_model
def test_counts_to_the_end(make, bars):
    progress, model = Progress(desc="mine"), make()
    for n_bars in (1, 2):  # the same object again
        model.fit(SPLIT, callbacks=[progress])
        assert model.n_iter_ == 4 and len(bars) == n_bars
        bar = bars[-1]
        assert bar.counts == [0, 1, 2, 3, 4] and bar.total == 4 and bar.closed == 1
        drawn = bar.fp.getvalue()
        assert f"test {model.history_['test_accuracy'][-1]:.2%}" in drawn
        assert "4/4" in drawn and drawn.endswith("\n") and "mine" in drawn


@of_every_model
def test_closes_on_an_early_stop_an_error_and_an_interrupt(make, bars):
    def end(error):
        def callback(current):
            if next(iter(current.record.values())) == 2:
                if error is None:
                    return True
                raise error
            return None

        return callback

    for error in (None, RuntimeError, KeyboardInterrupt):
        arguments = {"callbacks": [Progress(), end(error)]}
        if error is None:
            assert make().fit(SPLIT, **arguments).n_iter_ == 2
        else:
            with pytest.raises(error):
                make().fit(SPLIT, **arguments)
        assert bars[-1].counts == [0, 1, 2] and bars[-1].closed == 1
        assert bars[-1].fp.getvalue().endswith("\n")
    assert len(bars) == 3


@of_every_model
def test_says_how_much_memory_the_run_takes(make, bars):
    said = []
    make().fit(SPLIT, callbacks=[Progress(), lambda current: said.append(current.memory)])
    assert f"up to {said[0] / 1e6:.0f} MB: " in bars[0].fp.getvalue()
    assert set(said) == {said[0]} and 16 << 20 < said[0] <= make().require_memory(24, 25)


@of_every_model
def test_goes_on_from_a_checkpoint(make, bars):
    stored = []
    make().fit(SPLIT, callbacks=[lambda current: stored.append(current.checkpoint())])
    make().fit(SPLIT, callbacks=[Progress()], checkpoint=stored[1])
    assert bars[0].counts == [2, 3, 4] and bars[0].initial == 2


def test_many_runs_and_one_without_test_pairs(bars):
    models = [RFMClassifier(7, iterations=2) for _ in range(3)]
    fit_many(models, [SPLIT] * 3, callbacks=[[Progress()] for _ in models])
    assert [bar.counts for bar in bars] == [[0, 1, 2]] * 3
    RFMClassifier(7, iterations=0).fit(SPLIT.X_train, SPLIT.y_train, callbacks=[Progress()])
    assert bars[-1].counts == [0] and bars[-1].closed == 1


@of_every_model
def test_every_callback_with_a_close_is_closed_once(make):
    class Closed:
        def __init__(self):
            self.count = 0

        def __call__(self, current):
            assert self.count == 0

        def close(self):
            self.count += 1

    class Failing(Closed):
        def close(self):
            super().close()
            raise OSError("disk full")

    first, second = Closed(), Failing()
    model = make()
    with pytest.raises(OSError, match="disk full"):
        model.fit(SPLIT, callbacks=[first, second])
    assert (first.count, second.count) == (1, 1)
    assert model.n_iter_ == 4  # nothing that was computed is lost


def test_missing_tqdm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"Progress: tqdm is missing, pip install 'grokrfm\[pr"):
        Progress()
