"""Runs as animations."""

import stat

import matplotlib
import numpy as np
import pytest
from grokrfm import features, figures
from grokrfm.figures import animation
from grokrfm.files import read_arrays
from PIL import Image

matplotlib.use("Agg")


@pytest.fixture
def folder(run, tmp_path):
    """Of a run of x*y mod 7."""
    done = run("run", "--operation", "x*y", "--modulus", "7", "--iterations", "4", "--output", "a")
    assert done.returncode == 0, done.stderr
    return tmp_path / "a"


def test_a_frame_for_every_feature_matrix(folder):
    path = figures.animate_run(folder, frames_per_second=4)
    assert path == folder / "run.gif"
    with Image.open(path) as film:
        durations = []
        for i in range(film.n_frames):
            film.seek(i)
            durations.append(film.info["duration"])
    assert durations == [250] * 4 + [2250]  # Pillow makes one frame of equal ones
    assert not [path for path in folder.glob(".?*") if path.is_dir()]  # where it was written


def test_frames_show_the_matrix_and_the_curve_so_far(folder):
    with figures.off_screen():
        figure, draw = animation._prepare(*animation._read(folder))
    _, arrays = read_arrays(folder / "features.npz")
    left, right = figure.axes[:2]
    for i, M in enumerate(arrays["feature_matrices"]):
        draw(i)
        expected = features.reorder_by_discrete_logarithm(M, 7)
        np.fill_diagonal(expected, 0)
        np.testing.assert_array_equal(right.images[0].get_array(), expected)
        assert right.get_title() == f"feature matrix, iteration {i}"
        x, y = left.lines[1].get_data()
        np.testing.assert_array_equal(x, np.arange(i + 1))
        np.testing.assert_array_equal(y, 100 * arrays["history/test_accuracy"][: i + 1])
    assert right.images[0].norm.vmax == -right.images[0].norm.vmin > 0


def test_a_network(run, tmp_path):
    net = ("--hidden-width", "8", "--epochs", "3", "--output", "net")
    assert run("train-net", "--modulus", "7", *net).returncode == 0
    with Image.open(figures.animate_run(tmp_path / "net", tmp_path / "net.gif")) as film:
        assert film.n_frames == 4


@pytest.fixture
def ffmpeg(tmp_path):
    """Stands for ffmpeg: the file is what it was sent."""
    script = tmp_path / "ffmpeg"
    script.write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with matplotlib.rc_context({"animation.ffmpeg_path": str(script)}):
        yield


def test_mp4(folder, tmp_path, ffmpeg):
    path = figures.animate_run(folder, str(tmp_path / "run.mp4"), 2)
    frames, pixels = 5 + 2 * 2, 800 * 390
    assert path.stat().st_size == frames * pixels * 4


def test_mp4_without_ffmpeg(folder, tmp_path):
    with (
        matplotlib.rc_context({"animation.ffmpeg_path": str(tmp_path / "none")}),
        pytest.raises(RuntimeError, match=r"output: run\.mp4 takes ffmpeg, which is not there"),
    ):
        figures.animate_run(folder, tmp_path / "run.mp4")
    assert not (tmp_path / "run.mp4").exists()


def test_bad_input(folder, run, tmp_path):
    with pytest.raises(ValueError, match=r"output: expected a file that ends in .gif or .mp4"):
        figures.animate_run(folder, "run.avi")
    with pytest.raises(ValueError, match="frames_per_second: expected an integer >= 1, got 0"):
        figures.animate_run(folder, frames_per_second=0)
    with pytest.raises(FileNotFoundError):
        figures.animate_run(tmp_path / "nothing")
    short = ("--modulus", "5", "--iterations", "2", "--keep-features", "last", "--output", "b")
    assert run("run", *short).returncode == 0
    with pytest.raises(ValueError, match=r"features.npz: expected two feature matrices or more"):
        figures.animate_run(tmp_path / "b")
    whole = (folder / "features.npz").read_bytes()
    (folder / "features.npz").write_bytes(whole[:-9] + whole[-8:])
    with pytest.raises(ValueError, match=r"features\.npz: expected a file that ends with its"):
        figures.animate_run(folder)
