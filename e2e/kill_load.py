"""Kills the broker under load, again and again, with clients that keep their packet ids on disk.

Publishers of QoS 1 and 2, persistent sessions, groups, retained messages and wills go through all kills
on one data directory; the number of shards and the size of segments change from start to start. The
kill comes at a random moment, also while the broker starts or its clients come back. Clients are lost
as well, and go on from their files. Every ten kills everything is let come to rest and compared.
Status 1 when anything that was acknowledged is lost, doubled, out of order or wrong.
--wrong plants faults instead, and fails if one of them is not noticed.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from broker import KINDS, SCRATCH
from kill_load_faults import Fault, all_faults
from kill_load_run import Run

SHOWN = 20
"""Complaints that are printed, of all there are after the kill that brought the first."""


def summary(run: Run) -> str:
    """The figures of a run."""
    figures = run.figures
    delivered = [figures[f"QoS {qos} delivered"] for qos in (1, 2)]
    acknowledged = [figures[f"QoS {qos} acknowledged"] for qos in (1, 2)]
    restarts = sorted(run.restart_secs) or [0.0]
    return (
        f"{figures['kills']} kills, {figures['killed while starting']} of them during the start; "
        f"acknowledged {acknowledged[0]} of QoS 1 and {acknowledged[1]} of QoS 2; "
        f"delivered {delivered[0]} and {delivered[1]}, {figures['QoS 1 doubles']} doubles of QoS 1; "
        f"sent again {figures['sent again']} to the broker, {figures['received with DUP']} by it; "
        f"PUBREC, PUBREL, PUBCOMP again {figures['PUBREC again']}, {figures['PUBREL again']}, "
        f"{figures['PUBCOMP again']}; {figures['wills']} wills, {figures['wills twice']} twice; "
        f"{figures['retained read']} retained messages read; {figures['clients lost']} clients lost; "
        f"{len(run.checkpoints)} checkpoints at kills; "
        f"restart median {statistics.median(restarts) * 1000:.0f} ms, "
        f"p99 {restarts[int(len(restarts) * 0.99)] * 1000:.0f} ms"
    )


def play(options: argparse.Namespace, seed: int, fault: Fault | None = None) -> Run:
    """One run from its beginning to its end or the first complaint, in a directory of its own.

    The directory goes with it, unless a broker without planted fault was wrong.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=SCRATCH, prefix=f"kill-load-{seed}-"))
    broker = KINDS[fault.broker if fault else options.broker](directory / "data", 1)
    run = Run(broker, directory, seed, fault)
    runs = fault.runs if fault else options.runs
    number, is_well, started = 0, False, time.monotonic()
    try:
        for number in run.play(runs):
            if not fault and (number % max(10, runs // 20) == 0 or number == runs):
                print(f"{number:>5} kills, {time.monotonic() - started:6.1f} s", flush=True)
        is_well = not run.complaints
    finally:
        run.end()
        if is_well or fault:
            shutil.rmtree(directory)
        else:
            (directory / "broker.log").write_text(run.output)
            (directory / "complaints").write_text("\n".join(map(": ".join, run.complaints)) + "\n")
            print(f"failed: seed {seed}, kill {number}; everything is kept in {directory}")
    return run


def prove(options: argparse.Namespace, seed: int) -> int:
    """Plants each fault and returns 1 if one goes unnoticed."""
    missed = 0
    for fault in all_faults(random.Random(seed)):
        if options.only not in fault.name:
            continue
        run = play(options, seed, fault)
        found = {check for check, _ in run.complaints}
        is_right = bool(found & fault.checks) if fault.checks else not found
        missed += not is_right
        wanted = " or ".join(sorted(fault.checks)) or "nothing"
        kills, named = run.figures["kills"], ", ".join(sorted(found)) or "nothing"
        verdict = "" if is_right else f"; WRONG, expected {wanted}, planted: {fault.planted}"
        print(f"{fault.name}: found {named} after {kills} kills{verdict}", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=KINDS, default="bellbird")
    parser.add_argument("--runs", type=int, default=50, help="kills")
    parser.add_argument("--seed", type=int, default=None, help="of all that is left to chance")
    parser.add_argument("--wrong", action="store_true", help="plant faults that must be found")
    parser.add_argument("--only", default="", help="with --wrong: faults with this in their name")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    print(f"seed {seed}", flush=True)
    if options.wrong:
        return prove(options, seed)
    run = play(options, seed)
    for check, text in run.complaints[:SHOWN]:
        print(f"failed: {check}: {text}")
    print(summary(run))
    return 1 if run.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
