"""What to cite: the BibTeX of the methods in use."""

from __future__ import annotations

from typing import Any

from ._version import __version__
from .checks import check_one_of
from .network import FCNClassifier
from .rfm import RFMClassifier

_ENTRIES = {
    "grokrfm": f"""@software{{grokrfm,
  title   = {{grokrfm: Recursive Feature Machines on modular arithmetic}},
  author  = {{{{The grokrfm developers}}}},
  version = {{{__version__}}}
}}""",
    "mallinar2025emergence": """@inproceedings{mallinar2025emergence,
  title     = {Emergence in non-neural models: grokking modular arithmetic via average gradient
               outer product},
  author    = {Mallinar, Neil and Beaglehole, Daniel and Zhu, Libin and
               Radhakrishnan, Adityanarayanan and Pandit, Parthe and Belkin, Mikhail},
  booktitle = {Proceedings of the 42nd International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {267},
  year      = {2025},
  eprint    = {2407.20199},
  archiveprefix = {arXiv}
}""",
    "radhakrishnan2024mechanism": """@article{radhakrishnan2024mechanism,
  title   = {Mechanism for feature learning in neural networks and backpropagation-free machine
             learning models},
  author  = {Radhakrishnan, Adityanarayanan and Beaglehole, Daniel and Pandit, Parthe and
             Belkin, Mikhail},
  journal = {Science},
  volume  = {383},
  number  = {6690},
  pages   = {1461--1467},
  year    = {2024},
  doi     = {10.1126/science.adi5639}
}""",
    "power2022grokking": """@misc{power2022grokking,
  title  = {Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets},
  author = {Power, Alethea and Burda, Yuri and Edwards, Harri and Babuschkin, Igor and
            Misra, Vedant},
  year   = {2022},
  eprint = {2201.02177},
  archiveprefix = {arXiv}
}""",
    "gromov2023grokking": """@misc{gromov2023grokking,
  title  = {Grokking modular arithmetic},
  author = {Gromov, Andrey},
  year   = {2023},
  eprint = {2301.02679},
  archiveprefix = {arXiv}
}""",
    "jacot2018neural": """@inproceedings{jacot2018neural,
  title     = {Neural Tangent Kernel: Convergence and Generalization in Neural Networks},
  author    = {Jacot, Arthur and Gabriel, Franck and Hongler, Cl{\\'e}ment},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  year      = {2018},
  eprint    = {1806.07572},
  archiveprefix = {arXiv}
}""",
    "tomas2026breaking": """@misc{tomas2026breaking,
  title  = {Breaking Data Symmetry is Needed For Generalization in Feature Learning Kernels},
  author = {Tom{\\`a}s Bernal, Marcel and Mallinar, Neil Rohit and Belkin, Mikhail},
  year   = {2026},
  eprint = {2604.00316},
  archiveprefix = {arXiv}
}""",
    "boixadsera2025features": """@misc{boixadsera2025features,
  title  = {The Features at Convergence Theorem: a first-principles alternative to the Neural
            Feature Ansatz for how networks learn representations},
  author = {Boix-Adser{\\`a}, Enric and Mallinar, Neil and Simon, James B. and Belkin, Mikhail},
  year   = {2025},
  eprint = {2507.05644},
  archiveprefix = {arXiv}
}""",
}

# Beside grokrfm itself, which everything cites, and the paper whose experiments it runs.
_METHODS = {
    "rfm": ("radhakrishnan2024mechanism",),
    "grokking": ("power2022grokking",),
    "ntk": ("jacot2018neural",),
    "quadratic_network": ("gromov2023grokking",),
    "symmetric_split": ("tomas2026breaking",),
    "fact": ("boixadsera2025features",),
}


def citation(*methods: Any) -> str:
    """Return the BibTeX of the methods in use, to be printed.

    Parameters
    ----------
    *methods : str, RFMClassifier or FCNClassifier
        "rfm" (Recursive Feature Machines), "grokking" (the phenomenon), "ntk" (neural tangent
        kernels), "quadratic_network" (networks with x² activation), "symmetric_split" (splits
        along the orbits of a reflection), "fact" (the Features at Convergence Theorem). Or a
        model, fitted or not, for those that its parameters name. All of them unless given.

    Returns
    -------
    str
        The entries, each once, grokrfm and the paper whose experiments it runs first.

    Raises
    ------
    TypeError, ValueError
        For an unknown method, or something that is neither a name nor a model.
    """
    named = [name for method in methods or _METHODS for name in _names(method)]
    keys = ["grokrfm", "mallinar2025emergence", *(key for name in named for key in _METHODS[name])]
    return "\n\n".join(_ENTRIES[key] for key in dict.fromkeys(keys))


def _names(method: Any) -> list[str]:
    """The methods behind an argument of `citation`."""
    if isinstance(method, RFMClassifier):
        ntk = ["ntk"] if method.kernel in ("ntk", "quadratic_ntk") else []
        return ["rfm", *ntk, *(["fact"] if method.feature_update == "fact" else [])]
    if isinstance(method, FCNClassifier):
        return ["grokking", *(["quadratic_network"] if method.activation == "quadratic" else [])]
    if not isinstance(method, str):
        raise TypeError(f"methods: expected names or models, got {method!r}")
    return [check_one_of("methods", method, _METHODS)]
