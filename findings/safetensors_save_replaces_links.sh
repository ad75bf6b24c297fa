#!/usr/bin/env bash
# Guess:     save_file(tensors, path) writes into the file that the path names, through a link as well, as torch.save and
#            numpy do. Weights that lie once and are linked to (the hub's cache links snapshots to blobs, stores link equal
#            results) change for all who link to them, or for nobody.
# Behaviour: Since 0.8.0 the file is written beside the path and renamed onto it. A symbolic link becomes a file of its
#            own, and what it named keeps the old weights; a hard link to the same weights keeps the old ones too. Until
#            0.7.0 both got the new ones.
# Version:   safetensors 0.8.0, against 0.7.0 (numpy 2.3.5)
# Source:    safetensors pull request 764 (May 2026): a temporary file and a rename, so that tensors which were mapped from
#            the file that is overwritten do not turn to zeros.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.3.5 safetensors==0.8.0
"$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/before" safetensors==0.7.0
cd "$folder"
cat > "$folder/try.py" <<'PY'
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

blob, snapshot, beside = (Path(f"{version('safetensors')}-{name}") for name in ("blob", "snapshot", "beside"))
save_file({"weight": np.zeros(2, np.float32)}, blob)
snapshot.symlink_to(blob)
os.link(blob, beside)
save_file({"weight": np.ones(2, np.float32)}, snapshot)
through = float(load_file(blob)["weight"][0])
save_file({"weight": np.full(2, 2, np.float32)}, blob)
print(version("safetensors"), snapshot.is_symlink(), through, float(load_file(beside)["weight"][0]))
PY
new=$("$folder/venv/bin/python" -I "$folder/try.py")
old=$(PYTHONPATH="$folder/before" "$folder/venv/bin/python" "$folder/try.py")
echo "version, the link is still one, its file's weight after saving to the link (1 = written through),"
echo "a hard link's weight after saving 2 to the other name (2 = written through)"
echo "$old"
echo "$new"
if [ "$old" != "0.7.0 True 1.0 2.0" ] || [ "$new" != "0.8.0 False 0.0 0.0" ]; then
    echo "CHANGED: saving to a link does not do what the header states" >&2
    exit 1
fi
echo "as stated: since 0.8.0 a save goes to a new file, and links keep the old weights"
