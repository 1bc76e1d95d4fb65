"""The site: it builds, nothing public is missing from it, its Python runs, its links lead on."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grokrfm
import pytest

PACKAGE = Path(grokrfm.__file__).parent
DOCS = Path(__file__).parent.parent / "docs"
# page of the reference -> the sources that say what is public
SOURCES = {
    "grokrfm": ["__init__.py"],
    "grokrfm.features": ["analysis/features.py"],
    "grokrfm.fourier": ["analysis/fourier.py"],
    "grokrfm.groups": ["analysis/groups.py", "tasks/groups.py"],
    "grokrfm.torch": ["analysis/torch.py"],
    "grokrfm.figures": ["figures/__init__.py"],
}
# Take minutes, or other machines.
NOT_RUN = ("figures", "sampling", "sweeps")

whole = pytest.mark.skipif(
    not (DOCS / "figures").is_dir(), reason="a source distribution has no pictures in docs/figures/"
)


def public(path):
    """`__all__` of a file, which need not be importable."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path}: expected __all__")


def documented():
    """Full names of the entries of reference.rst."""
    names, module = set(), ""
    for line in (DOCS / "reference.rst").read_text().splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.match(r"\.\. py:data:: (\S+)", line):
            names.add(match[1])
        elif match := re.fullmatch(r"   ([\w.]+)", line):
            names.add(f"{module}.{match[1]}")
    return names


@pytest.mark.parametrize("module", SOURCES)
def test_reference_is_complete(module):
    sources = (PACKAGE / source for source in SOURCES[module])
    expected = {f"{module}.{name}" for source in sources for name in public(source)}
    assert expected - documented() - set(SOURCES) == set()


@whole
def test_build_without_warnings(tmp_path):
    """All but writing the pages, and running the gallery (test_gallery.py)."""
    made = shutil.ignore_patterns("examples", "reference")  # left by a build in place
    shutil.copytree(DOCS, tmp_path / "docs", ignore=made)
    for path in DOCS.parent.iterdir():  # pages have links to what stands beside them
        if path != DOCS:
            (tmp_path / path.name).symlink_to(path)
    options = ["-q", "-W", "--keep-going", "-t", "offline", "-D", "plot_gallery=0", "-b", "dummy"]
    command = [sys.executable, "-m", "sphinx", *options, "docs", "made"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    examples = {path.stem for path in (tmp_path / "docs" / "examples").glob("plot_*.rst")}
    assert examples == {path.stem for path in (DOCS / "gallery").glob("plot_*.py")}
    assert len(list((tmp_path / "docs" / "reference").glob("*.rst"))) > 50


def pages():
    return sorted(page for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_python(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    if page.stem in NOT_RUN or not blocks:
        return
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


@whole
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_links(page):
    """Files are there, but for pages that the build makes of the gallery."""
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text()):
        script = re.fullmatch(r"examples/(\w+)\.rst", target)
        if script and script[1] != "index":
            target = f"gallery/{script[1]}.py"
        elif script:
            target = "gallery/GALLERY_HEADER.rst"
        assert (page.parent / target).exists(), target
