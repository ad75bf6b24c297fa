"""Coverage-guided fuzzing of the readers of untrusted bytes (`make fuzz`, FUZZ_SECONDS=600 in all).

The time is split over the harnesses, each in a process of its own under atheris. What a harness finds is kept in a
folder with the command that repeats it, and the next harness goes on; the exit status is 1 if there is a finding.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY_MB = 3_000
"""Of a fuzzing process, the libraries that the readers need included."""
STUCK_S = 30
"""Wall seconds for one input; a harness's own limit counts processor time."""
LONGEST = 8_192
_INTERRUPTED = 72
"""The exit status of libFuzzer after Ctrl-C, which both processes get."""
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)|^#(\d+)\s", re.MULTILINE)


def main() -> int:
    """Fuzz each harness in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="in all")
    parser.add_argument("--findings", type=Path, default=Path("out/fuzz"))
    parser.add_argument("names", nargs="*", help="harnesses; all by default")
    args = parser.parse_args()
    from tests.fuzz.harnesses import HARNESSES

    names = args.names or list(HARNESSES)
    share = max(1, args.seconds // len(names))
    args.findings.mkdir(parents=True, exist_ok=True)
    findings = executed = 0
    for place, name in enumerate(names, start=1):
        print(f"{name} ({place} of {len(names)}), {share} s ...", flush=True)
        try:
            count, new = fuzz(name, share, args.findings)
        except KeyboardInterrupt:
            print(f"interrupted: {executed:,} executions before {name}, {findings} findings")
            return 130
        executed += count
        findings += len(new)
        print(f"  {count:,} executions, {len(new)} findings", flush=True)
        for path in new:
            print(f"  repeat it with: {sys.executable} -m tests.fuzz.harnesses {name} {path}")
    print(f"{executed:,} executions in {share * len(names)} s, {findings} findings")
    return 1 if findings else 0


def fuzz(name: str, seconds: int, findings: Path) -> tuple[int, list[Path]]:
    """Run one harness. Returns its executions and its new findings."""
    from tests.fuzz.harnesses import HARNESSES

    prefix = f"{findings}/{name}-"
    before = set(findings.iterdir())
    with tempfile.TemporaryDirectory(prefix="w2s-fuzz-", dir=_memory()) as spare:
        corpus = Path(spare, "corpus")
        corpus.mkdir()
        for place, seed in enumerate(HARNESSES[name].seeds()):
            (corpus / f"{place}").write_bytes(seed)
        log = Path(f"{prefix}log.txt")
        options = [f"-max_total_time={seconds}", f"-artifact_prefix={prefix}", f"-max_len={LONGEST}"]
        options += [f"-timeout={STUCK_S}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1"]
        command = [sys.executable, "-m", "tests.fuzz.one", name, *options, str(corpus)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"TMPDIR": spare}
            )
            try:
                status = process.wait(seconds + 10 * STUCK_S)
            except BaseException:
                process.kill()
                process.wait()
                raise
    new = sorted(set(findings.iterdir()) - before - {log})
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    if status and not new:
        raise SystemExit(f"{name} ended with {status}: see {log}")
    counts = [int(match[1] or match[2]) for match in _EXECUTED.finditer(log.read_text(errors="replace"))]
    return max(counts, default=0), new


def _memory() -> str | None:
    """A folder in memory where the system has one: each input of some harnesses is written to a file."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
