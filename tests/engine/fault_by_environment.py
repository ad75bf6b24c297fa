"""A module that a worker imports before its work: arms the fault that stands in the environment."""

import json
import os
from functools import partial
from pathlib import Path

from tests.engine.harness import STRIKES, Fault

if text := os.environ.get("W2S_TEST_FAULT"):
    root, n, strike, marker = json.loads(text)
    Fault(Path(root), n, partial(STRIKES[strike], Path(marker))).arm()
