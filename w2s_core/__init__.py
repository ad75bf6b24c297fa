"""Weak-to-strong reasoning as cached steps: see `recipe.py` for the method, `steps.py` for its parts."""

__version__ = "0.1.0"
