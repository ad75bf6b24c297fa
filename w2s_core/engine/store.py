"""The store: results under their keys, written once and checked when read; refs are names that point at keys.

STORE.json                 {"format": 1}
objects/<k[:2]>/<key>/     a result: its files and manifest.json, moved here as a whole, never changed again
accepted/<step>/<new>.json the user's word that results made under older code stand (`accepted.py`)
refs/<name>.json           a run, say: any JSON; each key in it keeps that result from `gc`
tmp/<key>.<random>/        a result in the making
kept/<fingerprint>/<name>/<key>/  what steps of the same code may use again (`Context.kept`): training states
work/<key>/                scratch (checkpoints) and progress.json of a step; survives a kill, ends with the commit
locks/<key>.lock           held by the process that computes the step
graphs/<digest>.json       {key: [input keys]} of runs, so that `gc` knows what an unfinished run still needs
sessions/<id>/             one a running command: its lock, and what failed in it
quarantine/<name>.<time>   results whose bytes no longer match their manifest, and what lay in a result's place
trash/<time>/<key>/        results that `gc` took out; the folders of a trash go for good after a week
logs/<key>.txt             the traceback of a step that failed
history.jsonl              durations, for estimates
contents/<n[:2]>/<name>    keys of results by what their steps were given (`contents.py`)
index.json                 what was read of refs and manifests, so that it need not be read again (`index.py`)
columns.parquet            what reports read of results, likewise; they write it
written.json               what each report was made from; reports write it too
"""

import datetime
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from w2s_core.engine import accepted, disk, locks
from w2s_core.engine.accepted import Acceptance
from w2s_core.engine.canonical import Json, digest, normalise
from w2s_core.engine.contents import Registry
from w2s_core.engine.index import Index
from w2s_core.engine.processor import processor_name
from w2s_core.engine.refs import Refs
from w2s_core.engine.spec import key_of, spec_inputs
from w2s_core.engine.step import Handle
from w2s_core.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
REFS_LOST = "refs-lost.txt"
"""Written where a store with results had no folder of refs; `gc` removes nothing while it is there."""
FOLDERS = (
    *("objects", "refs", "tmp", "work", "locks", "graphs", "sessions", "quarantine", "logs", "trash"),
    "contents",
    "kept",
)
KEY = re.compile(r"[0-9a-f]{64}")
DEEPEST = 20  # folders within a result; steps nest two or three
_AT_ONCE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in a file's place reads as empty
_POLL_S = 0.05
_MOST = 1 << 16  # manifests are smaller, and a larger buffer is memory that the system has to clear first
Stamp = tuple[int, int]  # a folder's inode and time of change
REFUSED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib", ".dill"}


class CorruptObjectError(UserError):
    """A stored result whose bytes are not those that were written; it now lies in quarantine."""

    def __init__(self, key: str, problem: str, moved_to: Path | None) -> None:
        where = f"; it was moved to {moved_to}" if moved_to else ""
        super().__init__(
            f"the stored result {key[:12]} is damaged ({problem}){where}; the command of its run makes it anew"
        )
        self.key, self.problem, self.moved_to = key, problem, moved_to


@dataclass(frozen=True)
class Problem:
    """What `Store.verify` found wrong: with which object or ref, and what."""

    name: str
    problem: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


class Store:
    """A store in a folder, created when it does not exist. Any number of processes may use it at once.

    Raises:
        UserError: the folder cannot be used, or holds another format.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self._objects = f"{self.root}/objects"
        self._verified: dict[str, Stamp] = {}
        try:
            self._prepare()
        except (NotADirectoryError, FileExistsError):
            raise UserError(f"the store {self.root} is not a folder") from None
        except PermissionError:
            raise UserError(f"the store {self.root} cannot be written") from None
        except OSError as error:
            raise UserError(f"the store {self.root} cannot be opened: {error.strerror}") from None
        self.index = Index(self.root / "index.json")
        self.refs = Refs(self.root / "refs", self.root / "tmp", self.index)
        self.contents = Registry(self.root / "contents")
        self.read_acceptances()

    def _prepare(self) -> None:
        marker = self.root / "STORE.json"
        is_store = os.path.lexists(marker)
        if not is_store and self.root.is_dir() and any(self.root.iterdir()) and not self._holds_objects():
            raise UserError(
                f"{self.root} is a folder of other files, not a store: name an empty or a new folder"
            )
        is_marked = is_store and self._is_marked(marker)
        if not (self.root / "refs").is_dir() and next((self.root / "objects").glob("*/*"), None):
            (self.root / REFS_LOST).write_text(f"refs was missing on {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        for name in FOLDERS:  # git and rsync drop empty folders
            self._make_folder(self.root / name)
        if not is_marked:
            disk.replace_durably(marker, json.dumps({"format": FORMAT}) + "\n", self.root / "tmp")

    def _holds_objects(self) -> bool:
        return (self.root / "objects").is_dir()

    def _is_marked(self, marker: Path) -> bool:
        """Whether STORE.json names this format. A damaged one is set aside: every manifest names the format too."""
        try:
            version = disk.read_object(marker).get("format")
        except ValueError as error:
            aside = disk.set_aside(marker, self.root)
            disk.warn(f"{marker} was damaged ({error}); it was moved to {aside} and written anew")
            return False
        if version != FORMAT:
            raise UserError(f"the store {self.root} has format {version}; this version reads format {FORMAT}")
        return True

    def _make_folder(self, folder: Path) -> None:
        """Make one of the store's own folders; what else lies in its place is set aside."""
        if not folder.is_dir():
            if os.path.lexists(folder):
                aside = disk.set_aside(folder, self.root)
                disk.warn(f"{folder} was no folder; it was moved to {aside}")
            folder.mkdir(parents=True, exist_ok=True)

    # Reading

    def has(self, key: str) -> bool:
        """Whether the result exists. It is whole if it does: its folder appears by one rename."""
        return os.access(f"{self._place(key)}/{MANIFEST}", os.F_OK)

    def path(self, key: str) -> Path:
        """The folder of a result, its files checked against their sha256 once in the life of a process.

        Raises:
            KeyError: there is no such result.
            CorruptObjectError: bytes changed; the object was moved to quarantine.
        """
        folder = self.folder(key)
        stamp = _stamp(folder)
        if stamp is None:
            raise KeyError(key)
        if self._verified.get(key) != stamp:
            if problem := self.check(key):
                raise CorruptObjectError(key, problem, self.quarantine(key, stamp))
            self._verified[key] = stamp
        return folder

    def manifest(self, key: str) -> dict[str, Json]:
        """The manifest of a result: spec, files, summary, started, duration_s, host, versions.

        Raises:
            KeyError: there is no such result.
            CorruptObjectError: the manifest cannot be read, or is not the one that was written.
        """
        stamp = _stamp(self.folder(key))
        try:
            return self.read_manifest(key)
        except FileNotFoundError:
            raise KeyError(key) from None
        except ValueError as error:
            raise CorruptObjectError(key, str(error), self.quarantine(key, stamp)) from None

    def keys(self, *, but: Container[str] = ()) -> Iterator[str]:
        """The keys of all results, whole or damaged, in order. Other things under objects/ are `strays`."""
        return (name for shard, name in self._entries() if name not in but and _is_place(shard, name))

    def strays(self) -> Iterator[Path]:
        """What lies under objects/ and is no result: a file browser's or a network disk's leftovers, say."""
        folder = self.root / "objects"
        return (folder / shard / name for shard, name in self._entries() if not _is_place(shard, name))

    def _entries(self) -> Iterator[tuple[str, str]]:
        """What lies under objects/, in order: the folder there and the name; a file has no folder."""
        for shard in sorted(os.scandir(self._objects), key=lambda entry: entry.name):
            if shard.is_dir():
                yield from ((shard.name, name) for name in sorted(os.listdir(shard)))  # noqa: PTH208 - no paths are needed
            else:
                yield "", shard.name

    def folder(self, key: str) -> Path:
        """Where a result lies, or would lie. For readers, `path` is the one that checks."""
        return Path(self._place(key))

    def _place(self, key: str) -> str:
        return f"{self._objects}/{key[:2]}/{key}"  # no Path: large studies ask for it often

    def lock_path(self, key: str) -> Path:
        """The lock of a key."""
        return self.root / "locks" / f"{key}.lock"

    def work_lock(self, name: str) -> Path:
        """The lock of what several keys would compute alike (`contents.Names.work`)."""
        return self.root / "locks" / f"{name}.work.lock"

    def work_folder(self, key: str) -> Path:
        """The scratch folder of a key, with its progress.json."""
        return self.root / "work" / key

    def kept_folder(self, handle: Handle) -> Path:
        """Where steps of this code keep what later ones may use again."""
        return self.root / "kept" / handle.definition.fingerprint[:32]

    def log_path(self, key: str) -> Path:
        """Where the traceback of a failed step goes."""
        return self.root / "logs" / f"{key}.txt"

    def peek(self, key: str) -> dict[str, Json] | None:
        """The manifest of a result; None where there is none, or it cannot be read. Changes nothing."""
        try:
            return self.read_manifest(key)
        except (OSError, ValueError):
            return None

    # Acceptances

    def read_acceptances(self) -> list[Acceptance]:
        """The acceptances that the store holds now, the earliest first. Keys are made with them from then on."""
        acceptances = accepted.read_all(self.root)
        self.accepted = accepted.table(acceptances)
        self.use_acceptances()
        return acceptances

    def use_acceptances(self) -> None:
        """Make keys with this store's acceptances, as they were when they were last read (by `Store(...)`, say)."""
        accepted.use(self.accepted)

    # Checking

    def check(self, key: str, *, quick: bool = False) -> str | None:
        """What is wrong with a result; None if nothing is. Changes nothing.

        It reads every byte; with `quick`, of files other than the manifest only their names, kinds and sizes.
        """
        try:
            return self._problem(key, quick)
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except ValueError as error:
            return str(error)

    def _problem(self, key: str, quick: bool) -> str | None:
        listed = (quick and self._listed(key)) or self.read_manifest(key)["files"]
        files = {name: entry for name, entry in _files(self._place(key)) if name != MANIFEST}
        if files.keys() != listed.keys():
            if missing := sorted(listed.keys() - files.keys()):
                return f"{missing[0]} is missing"
            return f"{min(files.keys() - listed.keys())} does not belong to it"
        for name, entry in files.items():
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                return f"{name} is no plain file"
            if status.st_size != listed[name]["bytes"]:
                return f"{name} has {status.st_size} bytes instead of {listed[name]['bytes']}"
            if not quick and disk.sha256_file(entry.path) != listed[name]["sha256"]:
                return f"{name} has other bytes than were written"
        return None

    def verify(self, *, quick: bool = False) -> Iterator[Problem]:
        """Read every result and ref, and yield what is wrong. Changes nothing but the index and the names of contents.

        `quick`: as in `check`; names are left as they are, and refs that have not changed since they were read for the
        index are not read again.
        """
        for key in self.keys():
            if (problem := self.check(key, quick=quick)) and os.path.lexists(self.folder(key)):
                yield Problem(key, problem)
            elif not quick and (manifest := self.peek(key)):
                self.contents.add_all(manifest)
        for path in self.strays():
            yield Problem(str(path.relative_to(self.root)), "it does not belong to the store; delete it")
        for name, problem in self.refs.damaged(quick=quick):
            yield Problem(f"refs/{name}", problem)

    def quarantine(self, key: str, stamp: Stamp | None = None) -> Path | None:
        """Move a damaged result away, for people to look at. `stamp` tells which folder was damaged: None
        comes back if another process has moved that one already, and perhaps made the result anew.
        """
        stamp = stamp or _stamp(self.folder(key))
        while (lock := locks.try_lock(self.lock_path(key))) is None:
            if _stamp(self.folder(key)) != stamp:
                return None  # without waiting for the lock: its holder may wait for one of this process
            time.sleep(_POLL_S)
        with lock:
            if stamp is None or _stamp(self.folder(key)) != stamp:
                return None
            return disk.set_aside(self.folder(key), self.root / "quarantine")

    def find(self, prefix: str) -> str:
        """The one key that starts with `prefix`. Raises UserError when none does, or several do."""
        shards = (self.root / "objects").glob(f"{prefix[:2]}*")
        keys = [entry.name for shard in shards for entry in shard.glob(f"{prefix}*")]
        if len(keys) != 1:
            raise UserError(f"{len(keys)} results have a key that starts with '{prefix}'")
        return keys[0]

    # Writing: only by the holder of the key's lock

    def begin(self, key: str) -> Path:
        """An empty folder to write a result into. Removes what dead owners of the key left."""
        self.abandon(key)
        self._clear(self.folder(key).parent, is_folder=True)
        self._clear(self.folder(key))
        self._clear(self.work_folder(key), is_folder=True)
        folder = self.root / "tmp" / f"{key}.{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    def _clear(self, path: Path, *, is_folder: bool = False) -> None:
        """Set aside what lies in the place of a result that does not exist: a folder without its manifest, a link,
        a file. `is_folder`: a folder may lie there.
        """
        if os.path.lexists(path) and not (is_folder and path.is_dir()):
            aside = disk.set_aside(path, self.root / "quarantine")
            disk.warn(f"{path} was damaged: it was moved to {aside}, and the step is computed anew")

    def abandon(self, key: str) -> None:
        """Remove unfinished results of a key."""
        for left in (self.root / "tmp").glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)

    def commit(
        self,
        handle: Handle,
        out: Path,
        summary: Json,
        started: float,
        duration_s: float,
        record: Mapping[str, Json] = MappingProxyType({}),
        files: Mapping[str, Json] | None = None,
    ) -> None:
        """Make `out` the result of the handle: flush its files, write the manifest last, move it into place.

        Args:
            record: further fields of the manifest.
            files: what the files must be, as in a manifest; None: anything.

        Raises:
            ValueError: a file that is a pickle by its name, or no plain file; or no JSON as summary; or other files.
        """
        where = f"the summary of step {handle.name}"
        sealed = _seal(out)
        if files is not None and sealed != files:
            raise ValueError("the files are not those that were to be taken over")
        manifest = {
            **record,
            "format": FORMAT,
            "key": handle.key,
            "spec": handle.describe(),
            "files": sealed,
            "summary": normalise(summary, where),
            "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(
                timespec="milliseconds"
            ),
            "duration_s": round(duration_s, 4),
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor_name(),
        }
        manifest["digest"] = digest(manifest)
        disk.write_durably(out / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        disk.fsync(out)
        shard = self.folder(handle.key).parent
        if not shard.is_dir():
            shard.mkdir(exist_ok=True)
            disk.fsync(shard.parent)
        self.contents.add_all(
            manifest
        )  # before the result is in place: a kill in between leaves a name too many
        out.rename(self.folder(handle.key))
        disk.fsync(shard)
        stamp = _stamp(self.folder(handle.key))
        if stamp is not None:
            self._verified[handle.key] = stamp  # its digests were taken from these very files
        with suppress(OSError):
            shutil.rmtree(self.work_folder(handle.key))
            self.log_path(handle.key).unlink(missing_ok=True)

    def link(self, manifest: Mapping[str, Json], out: Path) -> bool:
        """Put the files of a result into `out` as well, as links where the file system has them; both results are then
        whole by themselves. False: it is gone.

        Raises:
            CorruptObjectError: a file cannot be read; the result was moved to quarantine.
        """
        try:
            for name in manifest["files"]:
                _link(self.folder(manifest["key"]) / name, out / name)
        except OSError as error:
            if disk.disk_full(error):
                raise
            self.refuse(manifest["key"])
            return False
        return True

    def refuse(self, key: str) -> None:
        """Check all bytes of a result that turned out to be damaged.

        Raises:
            CorruptObjectError: it is damaged; it was moved to quarantine.
        """
        self._verified.pop(key, None)
        with suppress(KeyError):
            self.path(key)

    def read_manifest(self, key: str) -> dict[str, Json]:
        """The manifest without quarantine: FileNotFoundError when there is none, ValueError when it is
        damaged.
        """
        try:
            data = self._manifest_bytes(key)
            manifest = json.loads(data)
            claimed = manifest.pop("digest")
            is_written = (
                (_is_digest(data, claimed) or claimed == digest(manifest))
                and manifest["key"] == key
                and key_of(manifest["spec"]) == key
            )
        except (FileNotFoundError, PermissionError):
            raise
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError, OSError):
            raise ValueError(f"{MANIFEST} cannot be read") from None
        if not is_written:
            raise ValueError(f"{MANIFEST} is not the one that was written")
        return {**manifest, "digest": claimed}

    def inputs(self, keys: set[str]) -> tuple[set[str], set[str]]:
        """The keys of all inputs of some results; and those of the results whose inputs cannot be read."""
        unknown = set()
        for key in self.index.missing(keys):
            spec = self.read_spec(key)
            if spec is None:
                unknown.add(key)
            else:
                self.index.set_inputs(key, spec_inputs(spec))
        return self.index.inputs(keys - unknown), unknown

    def read_spec(self, key: str) -> dict[str, Json] | None:
        """A result's spec, which is whole where the key is its digest, whatever else befell the manifest."""
        with suppress(ValueError, KeyError, AttributeError, TypeError, RecursionError, OSError):
            spec: dict[str, Json] = json.loads(self._manifest_bytes(key))["spec"]
            return spec if key_of(spec) == key else None
        return None

    def _listed(self, key: str) -> dict[str, Json] | None:
        """The files that a manifest lists; None where it is damaged, or has another layout than `commit`'s.

        Nothing else is parsed: that is most of the time that a manifest takes.
        """
        with suppress(OSError):
            data = self._manifest_bytes(key)
            start, end = data.find(b'"files": ') + 9, data.find(b',\n "format": ')
            if b'\n "key": "%b"' % key.encode() in data and _is_digest(data, data[14:78].decode("latin-1")):
                listed: dict[str, Json] = json.loads(data[start:end])
                return listed
        return None

    def _manifest_bytes(self, key: str) -> bytes:
        descriptor = os.open(f"{self._place(key)}/{MANIFEST}", _AT_ONCE)
        try:
            data = os.read(descriptor, _MOST)
            while part := os.read(descriptor, _MOST) if len(data) >= _MOST else b"":
                data += part
            return data
        finally:
            os.close(descriptor)


def _is_digest(data: bytes, claimed: str) -> bool:
    """Whether a manifest's bytes have this digest. Quicker than `digest`; False for another layout than `commit`'s."""
    if b'\\":' in data:  # in a text, where a blank behind it counts
        return False
    lines = b"".join(map(bytes.lstrip, data.split(b"\n")))
    canonical = lines.replace(b'": ', b'":').replace(b'"digest":"%b",' % claimed.encode(), b"", 1)
    return hashlib.sha256(canonical).hexdigest() == claimed


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def _stamp(folder: Path) -> Stamp | None:
    """Which folder this is: a quarantined and remade result has another."""
    try:
        status = os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns


def _is_place(shard: str, name: str) -> bool:
    """Whether a path under objects/ is where a result lies."""
    return KEY.fullmatch(name) is not None and shard == name[:2]


def _files(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Relative names and entries of all that lies in a folder, folders themselves left out.

    Raises:
        ValueError: folders lie deeper in each other than any step writes (no path can name the deepest of them).
    """
    stack = [(folder, 0)]
    while stack:
        place, depth = stack.pop()
        if depth > DEEPEST:
            raise ValueError(f"it holds folders more than {DEEPEST} deep")
        for entry in os.scandir(place):
            if entry.is_dir(follow_symlinks=False):
                stack.append((entry.path, depth + 1))
            else:
                yield entry.path[len(folder) + 1 :], entry


def _seal(out: Path) -> dict[str, dict[str, Json]]:
    """Digest and flush all files of a new result, then its folders."""
    sealed = {}
    for name, path in sorted((name, Path(entry.path)) for name, entry in _files(str(out))):
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"a step wrote {name}, which is not a plain file")
        if path.suffix.lower() in REFUSED:
            raise ValueError(
                f"a step wrote {name}: files that are read by unpickling are not kept in the store"
            )
        if name == MANIFEST:
            raise ValueError(f"a step wrote {MANIFEST}, which is the store's own")
        sealed[name] = {"sha256": disk.sha256_file(path), "bytes": path.stat().st_size}
        disk.fsync(path)
    for place, _, _ in os.walk(out, topdown=False):
        disk.fsync(Path(place))
    return sealed
