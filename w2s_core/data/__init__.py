"""Splits of a task, the leak gate over them, and the commands on data files."""
