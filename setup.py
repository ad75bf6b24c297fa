"""What pyproject.toml cannot say: a wheel carries the examples, which in a checkout lie beside the packages."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
EXAMPLES = (
    "experiments/*/*.yaml",
    "experiments/*/*.md",
    "experiments/*/bases/*/*",
    "sweeps/*.yaml",
    "analysis/*.ipynb",
)


class BuildWithExamples(build_py):
    """Copies the examples into `w2s_core/examples` of a wheel; `w2s init` writes them out."""

    def run(self) -> None:
        """Build the packages, then copy. An editable install reads them where they lie."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "w2s_core", "examples")
        for file in (file for pattern in EXAMPLES for file in ROOT.glob(pattern) if file.is_file()):
            target = folder / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


setup(cmdclass={"build_py": BuildWithExamples})
