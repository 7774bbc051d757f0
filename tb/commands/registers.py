"""The register map's Verilog and tables, written anew from ``rtl/accelerator/registers.toml``."""

from __future__ import annotations

import re
import sys

from golden_model.accelerator.registers import (
    DOCUMENT,
    SOURCE,
    VERILOG,
    RegisterError,
    documented,
    register_map,
    verilog,
)
from quant.cli import Parser
from quant.files import write_whole
from tb import simulators
from tb.commands import command

OWN_PORTS = r"clk|reset|locked|load|loaded|s_axil_\w+"


def check_connections() -> None:
    """RegisterError where ``accelerator.v`` connects fields that no register has, or leaves some unconnected."""
    path = simulators.rtl_source("accelerator")
    instance = re.search(r"\bregisters\s+u_registers\s*\((.*?)\);", path.read_text(), re.DOTALL)
    ports = set(re.findall(r"\.(\w+)\(", instance[1] if instance else ""))
    connected = {port for port in ports if not re.fullmatch(OWN_PORTS, port)}
    fields = {name for register in register_map() for name, _ in register.fields}
    for names, what in ((connected - fields, "has no field"), (fields - connected, "has the fields")):
        if names:
            ending = f"that {path.name} connects" if names & connected else f"that {path.name} does not connect"
            raise RegisterError(f"{SOURCE.name} {what} {', '.join(sorted(names))} {ending}; rename them in both")


def main(words: list[str] | None = None) -> int:
    Parser("tb.commands.registers", __doc__).parse_args(words)
    register_map()
    check_connections()
    texts = {VERILOG: verilog(), DOCUMENT: documented(DOCUMENT.read_text())}  # all is made before any is written
    for path, text in texts.items():
        write_whole(path, text.encode())
    count = len(register_map())
    print(f"wrote rtl/accelerator/{VERILOG.name} and the tables of rtl/{DOCUMENT.name}: {count} registers")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
