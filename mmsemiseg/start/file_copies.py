"""Files that have the very content of other files."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path


def file_copies(paths: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``paths`` whose bytes are the bytes of one of ``others``.

    A file is read only where one of the other side has the same size.
    """
    sizes = {path: os.path.getsize(path) for path in {*paths, *others}}
    shared = {sizes[path] for path in paths} & {sizes[path] for path in others}
    known = {_digest(path) for path in others if sizes[path] in shared}
    return [p for p in paths if sizes[p] in shared and _digest(p) in known]


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
