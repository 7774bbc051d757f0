"""A folder of golden files and its ``manifest.json``, which is read once."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from golden_model.bounded import read_bounded
from golden_model.files.operands import GoldenSetError

MANIFEST = "manifest.json"
_OWN_HASH = "manifest_sha256"


class GoldenFolder:
    """A folder that holds one set (its manifest has ``files``), or those of several layers (``layers``).

    Nothing is read before it is asked for; then GoldenSetError says what is wrong with the manifest.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    @property
    def manifest(self) -> Path:
        return self.directory / MANIFEST

    @functools.cached_property
    def text(self) -> bytes:
        """The bytes of the manifest."""
        try:
            return read_bounded(self.manifest)
        except (FileNotFoundError, NotADirectoryError):
            raise GoldenSetError(f"{self.directory} is not a golden set: it has no {MANIFEST}") from None
        except OSError as error:
            raise GoldenSetError(f"{self.manifest}: {error.strerror}") from None

    @functools.cached_property
    def meta(self) -> dict[str, Any]:
        """The fields of the manifest."""
        try:
            meta = json.loads(self.text.decode("utf-8"))
        except json.JSONDecodeError as error:
            raise GoldenSetError(f"{self.manifest}:{error.lineno}:{error.colno}: {error.msg}") from None
        except (UnicodeDecodeError, RecursionError) as error:
            raise GoldenSetError(f"{self.manifest}: {error}") from None
        listed = meta.get("layers" if "layers" in meta else "files") if isinstance(meta, dict) else None
        if not isinstance(listed, dict):
            raise GoldenSetError(f"{self.manifest}: not the manifest of a golden set")
        if odd := [name for name in listed if Path(name).is_absolute() or ".." in Path(name).parts]:
            raise GoldenSetError(f"{self.manifest}: {odd[0]!r} is not in this directory")
        return meta

    @property
    def several(self) -> bool:
        """Does it hold the sets of several layers?"""
        return "layers" in self.meta

    @functools.cached_property
    def sets(self) -> dict[str, GoldenFolder]:
        """The sets by layer: the folders in it, or itself. GoldenSetError where it lists none."""
        if self.several and not self.meta["layers"]:
            raise GoldenSetError(f"{self.manifest} lists no layer, so there is nothing to compare")
        if self.several:
            return {layer: GoldenFolder(self.directory / layer) for layer in self.meta["layers"]}
        return {str(self.meta.get("layer")): self}

    def missing(self) -> list[Path]:
        """What the manifest lists and is not there: files, or the manifests of layers."""
        names = [f"{layer}/{MANIFEST}" for layer in self.meta["layers"]] if self.several else self.meta["files"]
        return [self.directory / name for name in names if not (self.directory / name).is_file()]

    def foreign_files(self) -> list[str]:
        """What lies in the folder, or in those of its layers, and is in no manifest; sorted names."""
        if not self.several:
            known = {MANIFEST, *self.meta["files"]}
            names = (path.relative_to(self.directory).as_posix() for path in _files(self.directory))
            return sorted(name for name in names if name not in known)
        foreign = []
        for layer, inner in self.sets.items():
            if inner.directory.is_dir():
                foreign += [f"{layer}/{name}" for name in inner.foreign_files()]
        outer = [path for path in self.directory.iterdir() if path.name not in {MANIFEST, *self.sets}]
        found = [path for top in outer for path in ([top] if not top.is_dir() else _files(top))]
        return sorted(foreign + [path.relative_to(self.directory).as_posix() for path in found])


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir()]


def manifest_text(meta: dict[str, Any]) -> bytes:
    """The bytes of manifest.json; its last field is the hash of the text without it, so that a change shows."""
    fields = {name: value for name, value in meta.items() if name != _OWN_HASH}
    plain = json.dumps(fields, indent=2)
    return (json.dumps(fields | {_OWN_HASH: content_hash(plain.encode())}, indent=2) + "\n").encode()


def content_hash(content: bytes) -> str:
    """SHA-256 as a manifest has it."""
    return hashlib.sha256(content).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
