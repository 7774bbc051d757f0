"""``systolic-cosim example NAME FOLDER``: copy an example core, its adapter file beside it, to where you may change
it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from quant.cli import Parser
from quant.errors import UserError
from tb import simulators
from tb.commands import command

EXAMPLES = simulators.ROOT / "tb" / "examples"
NAMES = ("course", "stream_os")


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.example", __doc__.split("\n\n")[0])
    parser.add_argument("name", help=f"{' or '.join(NAMES)}: the class's interface, or AXI4-Streams and Python")
    parser.add_argument("folder", type=Path, help="a folder that is made")
    parsed = parser.parse_args(words)
    if parsed.name not in NAMES:
        raise UserError(f"no example {parsed.name!r}; there are: {', '.join(NAMES)}")
    if parsed.folder.exists():
        raise UserError(f"{parsed.folder} is there already; name another folder")
    place = parsed.folder.absolute().parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".example-", dir=place) as work:  # all of it, or nothing
        for path in (EXAMPLES / parsed.name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = Path(work, "copy", path.relative_to(EXAMPLES / parsed.name))
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        Path(work, "copy").rename(parsed.folder)
    print(f"{parsed.folder}: {', '.join(sorted(path.name for path in parsed.folder.iterdir()))}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
