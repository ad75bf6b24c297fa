"""JSON lines, plain or gzip: read row by row with errors that name file and line, written whole or not at all.

Files come from anywhere, so a reader trusts nothing: a line may be longer than memory, nested past the parser's
depth, in another encoding, or cut off in the middle of the gzip stream. Each is one clear `UserError`.
"""

import gzip
import io
import json
import os
import secrets
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self, cast

from w2s_core.errors import UserError
from w2s_core.files import regular_size

MAX_LINE = 16 * 1024**2
"""Bytes that one line may take, unpacked; no more than this is ever read at once."""
MAX_BLANK = 1_000_000
"""Blank lines in a row: a reader that passes over more of them is kept busy and says nothing."""
MAX_RATIO, RATIO_FROM = 200, 64 * 1024**2
"""Times that gzip data may grow, and the unpacked bytes from which this is looked at. Rows grow 3 to 30 times."""
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class WrittenFloat(float):
    """A number with a point or an exponent, and the digits with which the file writes it.

    Attributes:
        text: `0.1234567890123456789` has more digits than a float.
    """

    text: str

    def __new__(cls, text: str) -> "WrittenFloat":
        """A float that remembers its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def written(value: object) -> str | None:
    """A JSON number with the digits of its file; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value.text if isinstance(value, WrittenFloat) else str(value)


class JsonRow:
    """One row and where it stands.

    Attributes:
        fields: the JSON object.
        place: "file, line n", for messages.
    """

    __slots__ = ("fields", "line", "path")

    def __init__(self, fields: dict[str, Any], path: Path, line: int) -> None:
        self.fields, self.path, self.line = fields, path, line

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path}, line {self.line}"

    @property
    def id(self) -> str:
        """The row's `id` as text: 5 and "5" are one id, since tools differ in how they write it.

        Raises:
            UserError: no id, or one that is neither an integer nor text.
        """
        value = self.get("id")
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            raise UserError(f"{self.place}: 'id' must be an integer or text, not {_shown(value)}")
        return str(value)

    def get(self, name: str) -> Any:
        """A field that must be there.

        Raises:
            UserError: it is missing; a field of nearly that name is suggested.
        """
        if name not in self.fields:
            raise UserError(f"{self.place}: no field '{name}'{self._suggestion(name)}")
        return self.fields[name]

    def text(self, name: str) -> str:
        """A field that must be there and be text.

        Raises:
            UserError: it is missing or something else.
        """
        value = self.get(name)
        if not isinstance(value, str):
            raise UserError(f"{self.place}: '{name}' must be text, not {_shown(value)}")
        return value

    def _suggestion(self, name: str) -> str:
        names = {known.lower(): known for known in islice(self.fields, 1000) if len(known) < 100}
        close = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
        if close:
            return f" (did you mean '{names[close[0]]}'?)"
        found = ", ".join(sorted(names.values())[:8])
        return f"; it holds: {found}" if found else "; it is empty"


def read_jsonl(path: Path, max_line: int = MAX_LINE) -> Iterator[JsonRow]:
    """Stream the rows of a JSON lines file; whether it is gzip shows in its first bytes, not in its name.

    Blank lines are passed over. Memory is bounded by the longest line.

    Args:
        max_line: bytes that a line may take.

    Raises:
        UserError: no such file, no row in it, or a line that is no JSON object (file and line).
    """
    line = filled = 0
    try:
        regular_size(path)
        with path.open("rb") as raw, _unpacked(raw) as stream:
            for part in _lines(stream, raw, path, max_line):
                line += 1
                part = (part.removeprefix(_BOM) if line == 1 else part).strip()
                if part:
                    filled = line
                    yield JsonRow(_parse(part, path, line), path, line)
                elif line - filled > MAX_BLANK:
                    raise UserError(
                        f"{path}, line {line}: {MAX_BLANK:,} blank lines before it; is this JSON lines?"
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}, after line {line}: the gzip data is damaged or cut off ({error})") from None
    except OSError as error:
        _explain(path, error)
    if not filled:
        raise UserError(f"{path}: holds no rows")


def _lines(stream: IO[bytes], raw: io.BufferedReader, path: Path, max_line: int) -> Iterator[bytes]:
    """The lines of a stream that is unpacked from `raw`, within the bounds of a line and of the whole."""
    unpacked = 0
    for line in count(1):
        part = stream.readline(max_line + 1)
        if not part:
            return
        if len(part) > max_line:
            raise UserError(f"{path}, line {line}: longer than {max_line:,} bytes; is this JSON lines?")
        unpacked += len(part)
        if unpacked > RATIO_FROM and unpacked > MAX_RATIO * raw.tell():
            raise UserError(
                f"{path}, line {line}: gzip data that grow to more than {MAX_RATIO} times their size; if they are "
                "meant, unpack the file and give that"
            )
        yield part


def read_unique(path: Path) -> Iterator[tuple[str, JsonRow]]:
    """Stream (id, row) of a file in which every id stands once; memory holds eight bytes a row.

    Raises:
        UserError: an id that stands twice (both lines), at the end of the file; and what `read_jsonl` raises.
    """
    hashes = array("q")
    for row in read_jsonl(path):
        name = row.id
        hashes.append(hash(name))
        yield name, row
    import numpy as np  # here, since who reads a task's questions needs none

    ordered = np.sort(np.frombuffer(hashes, np.int64))
    if repeated := set(ordered[1:][ordered[1:] == ordered[:-1]].tolist()):
        _refuse_repeated_id(path, repeated)


def _refuse_repeated_id(path: Path, hashes: set[int]) -> None:
    """Name the first id that stands twice, if any of those with these hashes does."""
    lines: dict[str, int] = {}
    for row in read_jsonl(path):
        name = row.id
        if hash(name) in hashes:
            if name in lines:
                raise UserError(f"{row.place}: the id '{_cut(name)}' stands already in line {lines[name]}")
            lines[name] = row.line


class RowWriter:
    """Writes JSON lines to a temporary file beside `path` that takes its place when the `with` ends well.

    A name that ends in .gz is packed; the same rows give the same bytes.

    Raises:
        UserError: the folder is missing, the place cannot be written, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self._part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")

    def __enter__(self) -> Self:
        try:
            if self.path.exists() and not self.path.is_file():
                raise UserError(f"{self.path}: not a regular file, so it cannot be replaced")
            if not self.path.parent.is_dir():
                raise UserError(f"{self.path}: its folder does not exist")
            self._raw: IO[bytes] = self._part.open("xb")
        except OSError as error:
            _explain(self.path, error)
        packed = self.path.suffix == ".gz"
        self._stream: IO[bytes] = (
            cast(
                IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, compresslevel=6, mtime=0)
            )
            if packed
            else self._raw
        )
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        try:
            self._stream.write(_dump(row) + b"\n")
        except OSError as error:
            _explain(self.path, error)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._stream is not self._raw:
                self._stream.close()
            self._raw.flush()
            if kind is None:
                os.fsync(self._raw.fileno())
                self._raw.close()
                os.replace(self._part, self.path)
        except OSError as error:
            if kind is None:
                _explain(self.path, error)
        finally:
            _close_quietly(self._raw)
            self._part.unlink(missing_ok=True)


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Make a folder to write into, unless it is there; it goes again if all fails and nothing stands in it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        made = not path.exists()
        path.mkdir(exist_ok=True)
    except OSError as error:
        _explain(path, error)
    try:
        yield
    except BaseException:
        if made and not any(path.iterdir()):
            path.rmdir()
        raise


def _unpacked(raw: io.BufferedReader) -> IO[bytes]:
    if raw.peek(2)[:2] == _GZIP_MAGIC:
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
    return raw


def _parse(part: bytes, path: Path, line: int) -> dict[str, Any]:
    place = f"{path}, line {line}"
    try:
        value = json.loads(
            part.decode(),
            parse_constant=_refuse_constant,
            parse_float=WrittenFloat,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 (byte {error.start + 1} of the line)") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise UserError(f"{place}: nested too deeply") from None
    except _KeyTwice as error:
        raise UserError(f"{place}: the key '{_cut(str(error))}' stands twice in one object") from None
    except ValueError as error:  # a constant that we refuse, or an integer of too many digits
        raise UserError(f"{place}: not JSON ({str(error).partition(';')[0]})") from None
    if not isinstance(value, dict):
        raise UserError(f"{place}: each line must be a JSON object, not {_shown(value)}")
    return value


class _KeyTwice(Exception):
    """A key of an object that stands in it twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; `json` itself keeps the last of two fields with one name."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _KeyTwice(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _dump(row: Mapping[str, Any]) -> bytes:
    """A row's bytes; one that holds half a surrogate pair, which UTF-8 cannot write, is escaped."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(row, allow_nan=False).encode()


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    WrittenFloat: "a number",
}


def _shown(value: object) -> str:
    return "empty text" if value == "" else _KINDS.get(type(value), "null")


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        return


def _explain(path: Path, error: OSError) -> NoReturn:
    raise UserError(f"{path}: {error.strerror or error}") from None
