"""What the compiler makes of the Triton programs for A100 and H100: registers, shared memory, spills. Needs no GPU.

Spilled bytes must be 0: registers that do not fit go to local memory, which is device memory. Loads are in bits a
thread: 128 is the widest there is; odd row lengths allow only single values.
"""

import argparse

from report import Cell, publish

from gnoise.kernels.ahead_of_time import CAPABILITIES, cases, compile_ahead

THREADS = {80: 2048, 90: 2048}
"""A multiprocessor holds, and 65,536 registers."""
REGISTERS = 65536
COLUMNS = ("program", "case", "GPU", "warps", "registers", "shared bytes", "spilled bytes", "loads", "resident warps")


def main() -> None:
    """Compile everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every fifth case; writes no results")
    options = parser.parse_args()
    rows: list[tuple[Cell, ...]] = []
    for case in list(cases())[:: 5 if options.quick else 1]:
        for capability in CAPABILITIES:
            made = compile_ahead(case, capability)
            programs = min(
                REGISTERS // (-(-made.registers // 8) * 8 * 32 * case.warps), THREADS[capability] // (32 * case.warps)
            )
            rows.append(
                (
                    case.program.__name__,
                    case.label,
                    f"sm_{capability}",
                    case.warps,
                    made.registers,
                    made.shared,
                    made.spilled,
                    " ".join(map(str, made.loads)),
                    programs * case.warps,
                )
            )
    worst = max(int(row[6] or 0) for row in rows)
    publish(
        "kernels_compiled",
        notes=[
            f"Most bytes spilled by any program: {worst}.",
            "Resident warps: of a multiprocessor, by registers alone.",
        ],
        settings={"triton": _triton()},
        columns=COLUMNS,
        rows=rows,
        save=not options.quick,
    )


def _triton() -> str:
    import triton  # noqa: PLC0415, RUF100

    return triton.__version__


if __name__ == "__main__":
    main()
