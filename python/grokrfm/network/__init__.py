"""The paper's neural network: the estimator, the trained network, its measures."""

from .classifier import FCNClassifier
from .measures import NetworkMeasures
from .trained import Epoch, TrainedNetwork

__all__ = ["Epoch", "FCNClassifier", "NetworkMeasures", "TrainedNetwork"]
