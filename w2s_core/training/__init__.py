"""The one core trainer: SFT and preference training of an adapter or of all weights, through TRL and PEFT."""

from w2s_core.training.core import Site, train
from w2s_core.training.environment import take_out_settings
from w2s_core.training.launch import train_launched
from w2s_core.training.settings import TrainSettings

__all__ = ["Site", "TrainSettings", "take_out_settings", "train", "train_launched"]
