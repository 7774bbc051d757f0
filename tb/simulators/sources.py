"""Where sources and builds lie."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "rtl"
HDL = ROOT / "tb" / "hdl"
# A checkout keeps its builds beside it; what was installed, in the user's cache.
_KEPT = ROOT / "build" if (ROOT / "pyproject.toml").exists() else platformdirs.user_cache_path("systolic-cosim")
BUILD = Path(os.environ.get("COSIM_BUILD") or _KEPT).absolute() / "sim"


def rtl_sources() -> list[Path]:
    return sorted(RTL.glob("*/*.v"), key=lambda path: path.name)


def rtl_source(module: str) -> Path:
    """The file of a module of ``rtl/``."""
    return next(path for path in rtl_sources() if path.stem == module)


def system_sources() -> list[Path]:
    """Of the tops ``system`` and ``bus``: the accelerator with what is beside it in simulation."""
    return [*rtl_sources(), *(HDL / f"{name}.v" for name in ("axi_check", "bus", "dram", "system"))]


def visible_ports(toplevel: str, sources: Sequence[Path]) -> str:
    """Verilator configuration that makes the ports of the top level, and nothing else, readable and writable."""
    texts = (source.read_text(errors="replace") for source in sources)
    text = next(text for text in texts if re.search(rf"\bmodule\s+{toplevel}\b", text))
    header = re.sub(r"//[^\n]*", "", re.split(rf"\bmodule\s+(?={toplevel}\b)", text)[1].split(");", 1)[0])
    ports = re.findall(r"\b(?:input|output)\b[^,]*?(\w+)\s*(?:,|$)", header)
    return "`verilator_config\n" + "".join(f'public_flat_rw -module "{toplevel}" -var "{port}"\n' for port in ports)


@functools.cache
def suite_hash() -> str:
    """Of the suite itself, its Verilog and its networks: what gives other results has another."""
    digest = hashlib.sha256(sys.version.encode())
    for folder in ("tb", "golden_model", "quant", "rtl"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".v", ".vh", ".safetensors") and not path.name.startswith("test_"):
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
