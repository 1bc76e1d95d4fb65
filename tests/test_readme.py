"""What the README says works: its Python runs, its commands and options exist."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from grokrfm import FeatureMeasures
from grokrfm.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    """Every `grokrfm …` of the README, in shell blocks and in the text, as arguments."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", README)
    parts = [part.strip() for line in lines for part in line.split("&&")]
    words = [shlex.split(part) for part in parts if re.match(r"(\S*/)?grokrfm\s", part)]
    return [arguments for _, *arguments in words]


def test_python_snippets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespaces = []
    for block in blocks("python"):
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        namespaces.append(names)
    names, sampled, swept = namespaces
    assert sampled["model"].history_["test_accuracy"][-1] > 0.9
    assert names["M"].shape == (194, 194)
    accuracy = names["model"].history_["test_accuracy"]
    final = swept["table"].column("final_test_accuracy")
    assert len(final) == 6 and final[:2].max() < 0.2 < 0.6 < final[4:].min()
    assert accuracy.shape == (31,) and accuracy[0] < 0.05 and accuracy[-1] > 0.99


def test_callbacks_of_the_text():
    [text] = re.findall(r"`(callbacks=\[.*?\])`", README)
    callbacks = eval(f"dict({text})", {"grokrfm": __import__("grokrfm")})["callbacks"]
    measures, stop = callbacks
    assert isinstance(measures, FeatureMeasures) and measures.operation == "x*y"

    class Current:
        record = {"test_accuracy": np.float64(0.99)}  # noqa: RUF012

    assert stop(Current)


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands(arguments, capsys):
    """Each command has a help, and in it every option that is named."""
    assert arguments[0] in ("run", "figures", "train-net", "sweep", "info")
    with pytest.raises(SystemExit) as ended:
        main([arguments[0], "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for option in arguments[1:]:
        if option.startswith("--"):
            assert re.search(rf"{re.escape(option)}\b", said), option


def test_commands_are_found():
    found = commands()
    for arguments in (["run"], ["run", "--help"], ["figures"], ["train-net"], ["info"]):
        assert arguments in found


def test_public_names():
    """Names after `grokrfm.` in the text are there, and so are the files it shows and links."""
    import grokrfm

    for name, inner in re.findall(r"`grokrfm\.(\w+)(?:\.(\w+))?", README):
        if name == "torch":  # needs PyTorch
            continue
        value = getattr(grokrfm, name)
        assert not inner or hasattr(value, inner)
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (root / target).exists(), target
