"""The site: nothing public is missing from its reference, its Python runs, its links lead on."""

import ast
import re
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
