"""What W&B wrote offline, read back from its files without W&B's server."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_offline_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs below a `wandb` folder: file, name, group, config, rows of metrics by step, and summary."""
    return [_read(file) for file in sorted(folder.glob("offline-run-*/run-*.wandb"))]


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"file": file, "rows": {}, "summary": {}}
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "run":
            found |= {"name": record.run.display_name, "group": record.run.run_group}
            found["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            if not name.startswith("_"):
                found["rows"].setdefault(record.history.step.num, {})[name] = json.loads(item.value_json)
        for item in record.summary.update:
            found["summary"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return found


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file: a LevelDB log of 32 KiB blocks after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""
