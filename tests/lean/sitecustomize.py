"""On PYTHONPATH, a Python process that tests start has neither bitsandbytes nor scikit-learn, as most users have not.

PEFT and transformers import them wherever they can, which takes a process longer than a small run does.
"""

import sys

ABSENT = ("bitsandbytes", "sklearn")
sys.modules.update(dict.fromkeys(ABSENT))  # None: "not installed" to find_spec and to import
