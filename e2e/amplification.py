"""How many bytes the log writes for each byte of a record, at saturation.

Publishers with many messages outstanding send to persistent sessions as fast as they are
acknowledged, until the log has turned over three times. Everything counts that the broker
writes to its files: headers, zeros written ahead, checkpoints. The system's own count of what
the process has handed to the disk stands beside it. Status 1 if it is more than docs/store.md
says.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from broker import SCRATCH, Broker, bellbird_binary

WRITTEN, RECORDS = "bellbird_log_written_bytes_total", "bellbird_log_record_bytes_total"
CHECKPOINTS, LIVING = "bellbird_log_checkpoints_total", "bellbird_log_bytes"
RATIO_MAX = 1.3
TURNS = 3


def handed_to_disk(pid: int) -> int:
    """The system's count."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def main() -> int:
    """Prints a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of load (default 5)")
    parser.add_argument("--payload", type=int, default=64, help="bytes (default 64)")
    options = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="amplification-", dir=SCRATCH) as scratch:
        broker = Broker(Path(scratch) / "data")
        with broker:
            words = [bellbird_binary(), "bench", "--target", f"127.0.0.1:{broker.port}",
                     "--scenario", "durable", "--payload", str(options.payload),
                     "--seconds", str(options.seconds), "--json"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            found, system = broker.metrics(), handed_to_disk(broker.pid)
    ratio = found[WRITTEN] / found[RECORDS]
    turns = found[RECORDS] / max(found[LIVING], 16 << 20)
    print(f"{found[RECORDS] / 1e6:.1f} MB of records, {found[WRITTEN] / 1e6:.1f} MB written "
          f"({ratio:.2f} for each), {found[CHECKPOINTS]:.0f} checkpoints, {turns:.1f} turns of the "
          f"log; {system / 1e6:.1f} MB handed to the disk ({system / found[RECORDS]:.2f})")
    if turns < TURNS:
        print(f"the log has not turned over {TURNS} times: use more --seconds", file=sys.stderr)
        return 1
    return int(ratio > RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
