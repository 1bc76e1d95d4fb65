"""The paper's neural network: the estimator, the trained network, its measures."""

from .classifier import NETWORK_BACKENDS, FCNClassifier
from .epochs import Epoch
from .measures import NetworkMeasures
from .trained import TrainedNetwork

__all__ = ["NETWORK_BACKENDS", "Epoch", "FCNClassifier", "NetworkMeasures", "TrainedNetwork"]
