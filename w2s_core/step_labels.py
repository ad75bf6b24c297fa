"""Names that a person can type for the steps of a run: targets by their label, the others by what they lead to."""

from collections.abc import Mapping, Sequence

from w2s_core.engine import Handle


def label_steps(targets: Mapping[str, Handle]) -> dict[str, str]:
    """Map each key of the graph to a label, unique in it.

    A target keeps its label ("greedy/test/tuned"). Any other step is named after the first target that needs it,
    nearest first: "sample:greedy/test/tuned" draws what that target grades, "sft:tuned" trains what lies further up.
    """
    labels: dict[str, str] = {}
    taken: set[str] = set()
    level = [(label, handle) for label, handle in targets.items()]
    depth = 0
    while level:
        above = []
        for target, handle in level:
            if handle.key in labels:
                continue
            labels[handle.key] = _unique(_name(handle, target, depth), handle.key, taken)
            above += [(target, parent) for parent in handle.parents()]
        level, depth = above, depth + 1
    return labels


def _name(handle: Handle, target: str, depth: int) -> str:
    if depth == 0:
        return target
    if handle.name in ("questions", "gold"):
        return f"{handle.name}:{handle.params['split']}"
    if handle.name == "base_model":
        return f"base_model:{str(handle.params['ref'])[:15]}"
    return f"{handle.name}:{target if depth == 1 else target.rsplit('/', 1)[-1]}"


def _unique(name: str, key: str, taken: set[str]) -> str:
    if name in taken:
        name = f"{name}@{key[:6]}"
    taken.add(name)
    return name


def closest(labels: Sequence[str], text: str) -> list[str]:
    """Labels to suggest where `text` is none of them."""
    import difflib

    within = [label for label in labels if text in label]
    return within[:5] or difflib.get_close_matches(text, labels, n=5, cutoff=0.4)
