"""Sweeps on real engines: Dask with scheduler and workers as processes, loky, MPI."""

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from grokrfm import RFMClassifier, sweep
from sweeping import OVER, PARAMETERS, RUN, SPLIT, assert_same_rows, files


@pytest.fixture
def runs(plain):
    return [run for run, _ in plain.histories()]


@pytest.mark.dask
def test_dask_workers_one_of_which_dies(plain, runs, tmp_path):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own
        with (
            distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            rows = sweep(runs[:2], folder=tmp_path, executor=client, progress=False)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            rows = sweep(runs, folder=tmp_path, executor=client, progress=False)
    assert_same_rows(rows, plain)
    assert len(files(tmp_path)) == 4


def test_loky(plain, tmp_path):
    loky = pytest.importorskip("loky", reason="loky is not installed")
    pool = loky.ProcessPoolExecutor(2, env={"OPENBLAS_NUM_THREADS": "1"})
    with pool:
        rows = sweep(RUN, OVER, folder=tmp_path, executor=pool, progress=False)
    assert_same_rows(rows, plain)


def test_loky_after_the_death_of_a_worker(plain, tmp_path):
    """What was in flight is missing, and done by the next call."""
    loky = pytest.importorskip("loky", reason="loky is not installed")
    with loky.ProcessPoolExecutor(1, env={"OPENBLAS_NUM_THREADS": "1"}) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        rows = sweep(RUN, OVER, folder=tmp_path, executor=pool, progress=False)
    assert set(rows.column("status")) <= {"done", "missing"}
    assert_same_rows(sweep(RUN, OVER, folder=tmp_path, progress=False), plain)


SCRIPT = """
import sys
import numpy as np
from grokrfm import RFMClassifier, sweep
from mpi4py.futures import MPIPoolExecutor
from sweeping import OVER, PARAMETERS, RUN, SPLIT

if __name__ == "__main__":
    folder = sys.argv[1]
    with MPIPoolExecutor() as pool:
        sweep(RUN, OVER, folder=folder, executor=pool, progress=False).to_csv(folder + "/table.csv")
        model = RFMClassifier(13, **PARAMETERS).fit(SPLIT, executor=pool)
        np.save(folder + "/M.npy", model.feature_matrix_)
"""


def test_mpi(plain, tmp_path):
    """A sweep, and the rounds of one run, on two processes beside the one that asks."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    mpiexec = shutil.which(
        "mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", script, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path)) == 4 and (tmp_path / "table.csv").exists()
    assert_same_rows(sweep(RUN, OVER, folder=tmp_path, progress=False), plain)
    alone = RFMClassifier(13, **PARAMETERS).fit(SPLIT).feature_matrix_
    np.testing.assert_allclose(np.load(tmp_path / "M.npy"), alone, rtol=1e-6, atol=1e-9)
