"""Trackers: W&B (offline by default) and Trackio (local), as mirrors of our own record, which is the truth.

    mirror_run(store, "mini-llama-0", ["wandb", "trackio"], folder)

A tracker that fails is one warning, and the run goes on. W&B goes online only when asked and logged in.
"""

from w2s_core.engine.redaction import redact, redact_text
from w2s_core.tracking.mirror import mirror_run, run_config
from w2s_core.tracking.trackers import Job, run_id, send

__all__ = ["Job", "mirror_run", "redact", "redact_text", "run_config", "run_id", "send"]
