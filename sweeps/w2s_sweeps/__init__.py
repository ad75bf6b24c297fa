"""Sweeps: a study file says what to vary, and every cell of it runs through the same cached steps."""
