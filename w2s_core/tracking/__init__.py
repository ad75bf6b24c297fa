"""Trackers: W&B (offline by default) and Trackio (local), as mirrors of our own record, which is the truth.

    mirror_run(store, "mini-llama-0", ["wandb", "trackio"], folder)

A tracker that fails says so once and is dropped; the run goes on. W&B goes online only when asked and logged in.
"""

from w2s_core.tracking.mirror import log_run, mirror_run, run_config
from w2s_core.tracking.process import Limits
from w2s_core.tracking.redaction import redact, redact_text
from w2s_core.tracking.trackers import Tracker, Trackers, open_trackers, run_id

__all__ = [
    "Limits",
    "Tracker",
    "Trackers",
    "log_run",
    "mirror_run",
    "open_trackers",
    "redact",
    "redact_text",
    "run_config",
    "run_id",
]
