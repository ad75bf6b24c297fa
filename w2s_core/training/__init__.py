"""The one core trainer: SFT, DPO and ORPO of a LoRA adapter, through TRL and PEFT, behind `train`."""

from w2s_core.training.core import leave_launcher, train
from w2s_core.training.launch import train_launched
from w2s_core.training.settings import TrainSettings

__all__ = ["TrainSettings", "leave_launcher", "train", "train_launched"]
