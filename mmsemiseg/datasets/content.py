"""Reading every image and mask of a data set once; remembered by content."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from .label_values import count_values, read_mask
from .strict_decode import decode_image

MISSING = 'does not exist'
_RULES = 2  # of decoding: what older ones accepted is decoded again


class ContentCache:
    """Cache, in a JSON file, of what was found in images and masks.

    A file whose size and modification time are unchanged is not read again; content
    that is known under another name is not decoded again.

    Args:
        path: JSON file of the cache, which ``save`` writes. None: nothing is kept.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._files: dict[str, list] = {}
        self._contents: dict[str, dict] = {}
        if path is not None and os.path.isfile(path):
            try:
                with open(path, encoding='utf-8') as file:
                    stored = json.load(file)
                if stored['rules'] == _RULES:
                    self._files, self._contents = stored['files'], stored['contents']
            except (ValueError, KeyError, TypeError):
                pass  # a damaged cache is written anew
        self.decoded = 0

    def read(self, kind: str, path: str) -> dict:
        """``dict(sha, size=[w, h], values={'0': n})`` or ``dict(sha, error)``.

        ``kind`` is 'image' or 'mask'; only masks have values.
        """
        if not os.path.isfile(path):
            return dict(sha='', error=MISSING)
        sha = self._sha(path)
        key = f'{kind}:{sha}'
        if key not in self._contents:
            self.decoded += 1
            self._contents[key] = _decode(kind, path)
        return dict(sha=sha, **self._contents[key])

    def read_all(
        self, files: Iterable[tuple[str, str]], threads: int = 4
    ) -> Iterator[tuple[tuple[str, str], dict]]:
        """((kind, path), content) of many files, in their order."""
        files = list(files)
        with ThreadPoolExecutor(threads) as pool:
            contents = pool.map(lambda file: self.read(*file), files)
            yield from zip(files, contents, strict=True)

    def save(self) -> None:
        """Write the JSON file, in one step."""
        if self.path is None:
            return
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        part = f'{self.path}.part'
        with open(part, 'w', encoding='utf-8') as file:
            stored = dict(rules=_RULES, files=self._files, contents=self._contents)
            json.dump(stored, file)
        os.replace(part, self.path)

    def _sha(self, path: str) -> str:
        path = os.path.realpath(path)
        state = os.stat(path)
        known = self._files.get(path)
        if known is not None and known[:2] == [state.st_mtime_ns, state.st_size]:
            return known[2]
        with open(path, 'rb') as file:
            sha = hashlib.sha256(file.read()).hexdigest()
        self._files[path] = [state.st_mtime_ns, state.st_size, sha]
        return sha


def _decode(kind: str, path: str) -> dict:
    try:
        with Image.open(path) as image:
            size = list(image.size)
            if kind == 'mask' and image.format == 'PNG':
                image.verify()  # checksums, which decoding ignores
        if kind == 'mask':
            counts = count_values(read_mask(path))
            return dict(size=size, values={str(v): n for v, n in counts.items()})
        decode_image(path)
        return dict(size=size)
    except Exception as error:  # decoders raise many types for garbage
        return dict(error=f'{type(error).__name__}: {error}')
