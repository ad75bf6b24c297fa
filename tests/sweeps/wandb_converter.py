"""W&B's own reading of a sweep file: the values that its server can draw of each parameter. Run as a script.

Its package `sweeps` lies apart from the environment and is on the path of this process alone. stdin: the sweep
file's parameters as JSON; stdout: {field: values}, as W&B writes them into a run's config.
"""

import json
import sys
from types import ModuleType
from typing import Any


def replace_refs(schema: Any, proxies: bool = False, root: Any = None) -> Any:
    """What the package takes from `jsonref`, which it needs for its own schema alone: local references, written out."""
    root = schema if root is None else root
    if isinstance(schema, list):
        return [replace_refs(part, proxies, root) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        # A parameter may hold parameters: one level is enough here.
        return target if schema["$ref"].endswith("parameters") else replace_refs(target, proxies, root)
    return {name: replace_refs(part, proxies, root) for name, part in schema.items()}


def main() -> None:
    jsonref = ModuleType("jsonref")
    vars(jsonref)["replace_refs"] = replace_refs
    sys.modules["jsonref"] = jsonref
    from sweeps.params import HyperParameterSet  # type: ignore[import-not-found]

    # At exactly 0 scipy gives the number below a discrete distribution; W&B draws that with probability 2^-53.
    percentiles = [1e-12, *(number / 400 for number in range(1, 401))]
    drawn = {}
    for parameter in HyperParameterSet.from_config(json.load(sys.stdin)):
        values = [parameter.ppf(percentile) for percentile in percentiles]
        drawn[parameter.name] = [getattr(value, "item", lambda v=value: v)() for value in values]
    json.dump(drawn, sys.stdout)


if __name__ == "__main__":
    main()
