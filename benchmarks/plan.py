"""Processor time of a dry run of the demo study, as a ratio to a dry run of a workflow of one rule (what Snakemake alone needs).

python benchmarks/plan.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_RULE = 'rule all:\n    output: "out.txt"\n    shell: "touch {output}"\n'


def processor_seconds(folder: Path) -> float:
    """User and system time of ``snakemake -n`` in a folder."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "snakemake", "-n", "-q"], cwd=folder, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="dry runs of each, in turn (default %(default)s)")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        peer = Path(name)
        (peer / "Snakefile").write_text(ONE_RULE, encoding="utf-8")
        pairs = [(processor_seconds(ROOT), processor_seconds(peer)) for _ in range(repeats)]
    demo, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"dry run of the demo {demo:.2f} s, of one rule {alone:.2f} s of processor time: ratio {ratio:.2f} ({repeats} pairs)"
    )


if __name__ == "__main__":
    main()
