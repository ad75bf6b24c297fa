"""`w2s_core.training.process`, with sharding (FSDP) on processors.

Accelerate shards on accelerators only, and takes no notice of FSDP elsewhere; torch itself shards over gloo as well.
Here accelerate is told that processors count too. All that follows, in it and in ours, is what GPUs would go through.
"""

import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from w2s_core.training import checkpoints
from w2s_core.training.process import main

_plain = AcceleratorState.__init__


def _shards_on_processors(self: Any, *args: Any, fsdp_plugin: Any = None, **others: Any) -> None:
    _plain(self, *args, fsdp_plugin=fsdp_plugin, **others)
    if fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin


AcceleratorState.__init__ = _shards_on_processors


def _logged(tensor: Any) -> Any:
    """Leaves in the log what is put together: the test reads there that weights really were spread."""
    if isinstance(tensor.detach(), DTensor):
        sys.stderr.write(f"spread: {tuple(tensor.to_local().shape)} of {tuple(tensor.shape)}\n")
    return _gathered(tensor)


_gathered = checkpoints.gathered
checkpoints.gathered = _logged

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
