"""Weak-to-strong experiments from Python: open a lab, run experiments, read, compare and draw what they gave.

lab = w2s.Lab(".w2s")
run = lab.run("experiments/mini/paper.yaml", seed=1)
run.accuracy()
lab.compare("demo", run.name).overview
"""

from w2s.lab import Comparison, Lab, Run
from w2s_core import __version__
from w2s_core.errors import UserError

__all__ = ["Comparison", "Lab", "Run", "UserError", "__version__"]
