"""Which version of this project made a file."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """The commit of the working tree that this package lies in, '+' behind it where files differ; None if unknown."""
    folder = Path(__file__).resolve().parents[1]  # quant/

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # In a package that was installed beside another project, that project's commit would say nothing.
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
