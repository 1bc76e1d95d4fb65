"""BibTeX of the methods in use."""

import re
from pathlib import Path

import grokrfm
import pytest

CFF = (Path(__file__).parent.parent / "CITATION.cff").read_text()


def keys(text):
    return re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)


def test_each_method_once_after_the_package_and_its_paper():
    first = ["grokrfm", "mallinar2025emergence"]
    assert keys(grokrfm.citation("rfm", "rfm")) == [*first, "radhakrishnan2024mechanism"]
    every = keys(grokrfm.citation())
    assert every[:2] == first and len(set(every)) == len(every) == 8


def test_a_model_names_its_methods():
    def of(model):
        return keys(grokrfm.citation(model))[2:]

    assert of(grokrfm.RFMClassifier(7)) == ["radhakrishnan2024mechanism"]
    assert of(grokrfm.RFMClassifier(7, kernel="ntk")) == [
        "radhakrishnan2024mechanism",
        "jacot2018neural",
    ]
    assert of(grokrfm.RFMClassifier(7, feature_update="fact")) == [
        "radhakrishnan2024mechanism",
        "boixadsera2025features",
    ]
    assert of(grokrfm.FCNClassifier(7)) == ["power2022grokking", "gromov2023grokking"]
    assert of(grokrfm.FCNClassifier(7, activation="relu")) == ["power2022grokking"]
    fitted = grokrfm.RFMClassifier(5, iterations=0).fit(grokrfm.ModularTask("x+y", 5).split(0.5))
    assert of(fitted) == ["radhakrishnan2024mechanism"]


def test_entries_are_whole():
    """Braces match, and every entry has title, author, and a year or version."""
    for entry in grokrfm.citation().split("\n\n"):
        assert entry.count("{") == entry.count("}")
        fields = re.findall(r"^  (\w+) *= \{", entry, re.MULTILINE)
        assert {"title", "author"} < set(fields) and {"year", "version"} & set(fields)
        assert len(fields) == len(set(fields)) == entry.count(",\n") - entry.count("and,")


def test_the_package_says_the_same_as_its_citation_file():
    own, paper = grokrfm.citation("rfm").split("\n\n")[:2]
    title, version = (
        re.search(rf'^{name}: "?(.*?)"?$', CFF, re.M)[1] for name in ("title", "version")
    )
    assert title in own and f"{{{version}}}" in own
    names = re.findall(r"given-names: (\w+), family-names: (\w+)", CFF)
    assert re.findall(r"(\w+), (\w+)", re.search(r"author .*?\}", paper, re.DOTALL)[0]) == [
        (family, given) for given, family in names
    ]


def test_bad_input():
    with pytest.raises(ValueError, match=r"methods: expected one of rfm, grokking.*got 'svm'"):
        grokrfm.citation("svm")
    with pytest.raises(TypeError, match="methods: expected names or models, got 3"):
        grokrfm.citation(3)
