"""`python -m w2s_analysis.dashboard [STUDY]`: the command alone, for the store in W2S_STORE or .w2s."""

import os
from pathlib import Path

from w2s_analysis.dashboard.command import dashboard
from w2s_core.engine.redaction import redact_text
from w2s_core.errors import UserError

if __name__ == "__main__":
    try:
        dashboard.main(obj=Path(os.environ.get("W2S_STORE", ".w2s")), prog_name="w2s dashboard")
    except UserError as error:
        raise SystemExit(f"w2s: {redact_text(str(error))}") from None
