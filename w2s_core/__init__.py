"""Weak-to-strong reasoning as cached steps: see `recipe.py` for the method, `steps.py` for its parts."""

import logging

__version__ = "0.1.0"

# PEFT imports bitsandbytes where it is installed. On some processors that asks for a package with kernels from the hub
# and warns: one line of noise on the terminal of every process, whether 4-bit weights are asked for or not.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
