"""One harness under atheris (`python -m tests.fuzz.one NAME [options of libFuzzer]`); `tests.fuzz.run` starts it."""

import os
import sys

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, os.getcwd())  # noqa: PTH109
with atheris.instrument_imports(include=["w2s_core", "yaml"]):
    from tests.fuzz.harnesses import HARNESSES

if __name__ == "__main__":
    harness = HARNESSES[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], harness)
    atheris.Fuzz()
