"""``make report``: the views of a record anew: report.html, trace.json.gz and tables, from what a run left in a folder.

REPORT=folder on cosim, accelerate, infer and check-core leaves it, with the same views.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quant.cli import Parser
from quant.errors import UserError
from tb import options
from tb.commands import command
from tb.record import record, views


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.record.report", __doc__.split("\n\n")[0])
    options.add_report(parser)
    parsed = parser.parse_args(words)
    if parsed.report is None:
        raise UserError("name the folder of a record, as REPORT=out; REPORT=out on cosim or infer makes one")
    folder = Path(parsed.report)
    found = record.load(folder)
    for name in views.again(folder, found):
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
