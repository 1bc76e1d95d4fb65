"""Files that are there whole or not at all."""

import hashlib
import io
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from grokrfm.files import locked, read_arrays, write_arrays

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b/c": np.array(7), "none": np.empty((0, 3))}


def stored(path):
    write_arrays(path, ARRAYS, {"kind": "test", "size": 0.1})
    return path


def test_arrays_come_back_and_numpy_reads_them(tmp_path):
    path = stored(tmp_path / "x.npz")
    header, arrays = read_arrays(path)
    assert header == {"kind": "test", "size": 0.1}
    with np.load(path, allow_pickle=False) as plain:
        assert set(plain.files) == {"header", *ARRAYS}
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array)
            np.testing.assert_array_equal(plain[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_no_damage_is_read(tmp_path):
    path = stored(tmp_path / "x.npz")
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        for at in range(0, len(whole), 3)
    ]
    damaged += [whole + b"x", whole * 2, whole[::-1]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.npz: expected a file that ends with its"):
            read_arrays(path)


def forged(path, content):
    """A file with a right checksum, whatever its content."""
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())
    return path


def with_comment(**how):
    """An archive of .npy members that leaves room for its checksum, without it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **how.pop("archive", {})) as archive:
        for name, content in how.items():
            archive.writestr(name + ".npy", content)
        archive.comment = b"x" * 64
    return buffer.getvalue()[:-64]


def npy(array, **kwargs):
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        with_comment(archive={"compression": zipfile.ZIP_DEFLATED}, header=npy(np.zeros(100_000))),
        with_comment(header=npy(np.array("{}")), a=npy(np.array([{}]), allow_pickle=True)),
        with_comment(header=npy(np.array("{}")), a=b"\x93NUMPY\x01\x00v\x00{'descr': (("),
        with_comment(header=npy(np.array("[1]"))),
        with_comment(header=npy(np.array("{"))),
        with_comment(a=npy(np.zeros(2))),
        b"no archive",
        b"",
    ],
    ids=["bomb", "pickle", "members", "list", "json", "no header", "text", "empty"],
)
def test_forged_content_is_refused(tmp_path, content):
    path = forged(tmp_path / "x.npz", content)
    with pytest.raises(ValueError, match=r"x\.npz: expected arrays with a header, got") as caught:
        read_arrays(path)
    assert "allow_pickle=True" not in str(caught.value)


def test_many_writers_of_one_file(tmp_path):
    path, failures = tmp_path / "x.npz", []

    def write():
        for _ in range(20):
            try:
                stored(path)
                read_arrays(path)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_permissions_follow_the_umask(tmp_path):
    path, plain = stored(tmp_path / "x.npz"), tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_full_disk_is_named_and_keeps_the_old_file(tmp_path):
    path = stored(tmp_path / "x.npz")
    code = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from grokrfm.files import write_arrays\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_arrays(Path(sys.argv[1]), {'a': np.zeros(10_000)}, {})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    # Older NumPy leaves an archive to the garbage collector, which complains after it.
    assert any(line.endswith(f"too large: '{path}'") for line in done.stderr.splitlines())
    assert read_arrays(path)[0]["kind"] == "test"
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_a_locked_folder_is_refused_until_its_process_is_gone(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from grokrfm.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(BlockingIOError, match="in use by another process") as caught,
        locked(tmp_path),
    ):
        pass
    assert str(tmp_path) in str(caught.value)
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass
