"""Figures. Each plot function draws on the given Axes, or on new ones, and returns them."""

from .abelian import plot_abelian
from .animation import animate_run
from .controls import plot_controls
from .critical import plot_critical
from .fact import plot_fact
from .groups import plot_groups
from .longer import plot_longer
from .make import FIGURES, choose_figures, make_figures
from .network import (
    plot_ansatz_over_training,
    plot_circulant_inputs,
    plot_feature_ansatz,
    plot_network_measures,
    plot_sgd,
    plot_side_by_side,
)
from .noise import plot_noise
from .panels import (
    off_screen,
    plot_accuracy,
    plot_band,
    plot_feature_matrix,
    plot_loss,
    plot_measures,
)
from .plateau import plot_plateau
from .registry import Figure, Settings
from .rfm import (
    plot_enforced_structure,
    plot_features_over_training,
    plot_final_features,
    plot_fractions,
    plot_grokking,
    plot_losses,
    plot_progress_measures,
    plot_random_circulant,
    plot_sharpening,
    plot_two_tasks,
)
from .run import plot_run
from .sweeps import plot_critical_fraction, plot_phase_diagram
from .symmetric import plot_symmetric

__all__ = [
    "FIGURES",
    "Figure",
    "Settings",
    "animate_run",
    "choose_figures",
    "make_figures",
    "off_screen",
    "plot_abelian",
    "plot_accuracy",
    "plot_ansatz_over_training",
    "plot_band",
    "plot_circulant_inputs",
    "plot_controls",
    "plot_critical",
    "plot_critical_fraction",
    "plot_enforced_structure",
    "plot_fact",
    "plot_feature_ansatz",
    "plot_feature_matrix",
    "plot_features_over_training",
    "plot_final_features",
    "plot_fractions",
    "plot_grokking",
    "plot_groups",
    "plot_longer",
    "plot_loss",
    "plot_losses",
    "plot_measures",
    "plot_network_measures",
    "plot_noise",
    "plot_phase_diagram",
    "plot_plateau",
    "plot_progress_measures",
    "plot_random_circulant",
    "plot_run",
    "plot_sgd",
    "plot_sharpening",
    "plot_side_by_side",
    "plot_symmetric",
    "plot_two_tasks",
]
