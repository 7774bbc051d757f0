"""What the bits of ``tb/hdl/axi_check.v`` mean."""

RULES = (
    "AR: an offer was withdrawn or changed before it was taken",
    "AW: an offer was withdrawn or changed before it was taken",
    "W: a beat was withdrawn or changed before it was taken",
    "AR: a burst that is not INCR, of full width, aligned, of at most 16 beats within 4 KiB",
    "AW: a burst that is not INCR, of full width, aligned, of at most 16 beats within 4 KiB",
    "AR: a burst beyond mem_limit",
    "AW: a burst beyond mem_limit",
    "WLAST is not exactly at the last beat of its burst",
    "a W beat without a burst",
    "R or B was not taken at once",
    "a valid, a ready, or what is offered, but for data, is unknown",
    "traffic while no layer runs",
    "a burst is open while no layer runs",
    "AXI4-Lite B: an answer was withdrawn or changed before it was taken",
    "AXI4-Lite R: an answer was withdrawn or changed before it was taken",
    "AXI4-Lite: an answer without a question",
)


def broken_rules(broken: int) -> list[str]:
    """The rules whose bits are set."""
    return [rule for bit, rule in enumerate(RULES) if broken >> bit & 1]
