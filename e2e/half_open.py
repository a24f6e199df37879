"""How a legitimate stream fares while the broker is attacked, with a ceiling for its memory.

Five rounds of three measurements of one stream (`stream.py`): undisturbed; with 5,000 connections that
are not finished, half CONNECTs, half handshakes of TLS and half requests for a WebSocket, renewed when the
broker ends them; and with all attackers of `attacks/attackers.py` side by side. The process may take no
more than its limit, of which the broker's own ceiling is what docs/memory.md leaves it. Status 1 if the
broker has ended or has taken more, if a message was lost or refused, or if the median of the p99s is more
than three times that of the undisturbed stream. Attackers run on the same processors: how much of one the
broker's threads had in each second, and how long they were ready and waited for one, is said too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attacks.attackers import HALF_OPEN, KINDS, Attackers
from attacks.measure import eventually
from broker import SCRATCH, Broker
from tls import Certificates

RATIO_MAX = 3.0
LIMIT_BYTES = 256 << 20
"""What the process may take."""
CEILING_BYTES = LIMIT_BYTES * 3 // 4
"""What the broker may allocate: docs/memory.md says to leave a quarter."""
PHASES = {"undisturbed": [], "half-open": ["half-open"], "everything": list(KINDS)}
SETTINGS = f"""[limits]
memory_bytes_max = {{ceiling}}
# What stays must not make memory short, for then nobody new is let in.
retained_bytes_max = {LIMIT_BYTES // 8}
"""
CLOSING_MAX = 50


def measure(broker: Broker, kinds: list[str], options: argparse.Namespace) -> tuple[dict[str, float], str]:
    """What the stream says of itself under these attackers, and what they did."""
    command = [sys.executable, str(Path(__file__).with_name("stream.py"))]
    command += [f"--port={broker.port}", f"--seconds={options.seconds}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdout.readline() == "connected\n", "the stream was not let in"
        with Attackers(broker, kinds, nice=options.nice, is_paced=not options.unpaced) as attackers:
            began, worked, waited = time.monotonic(), *scheduled(broker)
            output, _ = stream.communicate("go\n", options.seconds + 60)
            passed, now = time.monotonic() - began, scheduled(broker)
            opened = connections(broker)
    assert stream.returncode == 0, "the stream broke off"
    deeds = ", ".join(f"{kind} {count}" for kind, count in attackers.deeds.items())
    found = json.loads(output)
    found |= {"worked": (now[0] - worked) / passed, "waited": (now[1] - waited) / passed}
    return found, f"{opened:>6.0f}  {deeds}"


def scheduled(broker: Broker) -> tuple[float, float]:
    """Seconds that the broker's threads have had a processor, and that they have waited for one."""
    files = Path(f"/proc/{broker.pid}/task").glob("*/schedstat")
    figures = [[int(number) / 1e9 for number in file.read_text().split()] for file in files]
    return sum(one[0] for one in figures), sum(one[1] for one in figures)


def peak_bytes(broker: Broker) -> int:
    """The most that the process ever had in memory."""
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024


def connections(broker: Broker) -> float:
    """Those that are open."""
    metrics = broker.metrics()
    ended = sum(value for name, value in metrics.items() if name.startswith("bellbird_connections_closed_total"))
    ended += sum(value for name, value in metrics.items() if name.startswith("bellbird_connections_refused_total"))
    return metrics["bellbird_connections_accepted_total"] - ended


def run(broker: Broker, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """All rounds; a line for each measurement."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PHASES}
    print(f"{'round':>5} {'':12} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CONNECT p99':>11} "
          f"{'works':>6} {'waits':>6} {'open':>6}", flush=True)
    for number in range(options.rounds):
        for name, kinds in PHASES.items():
            one, rest = measure(broker, kinds, options)
            found[name].append(one)
            print(f"{number + 1:>5} {name:12} {one['p50']:>8.2f} {one['p99']:>8.2f} {one['max']:>8.2f} "
                  f"{one['connect_p99']:>11.2f} {one['worked']:>6.2f} {one['waited']:>6.2f} {rest}", flush=True)
            eventually(broker, "the attackers' connections end", lambda: connections(broker) < CLOSING_MAX)
    return found


def judge(found: dict[str, list[dict[str, float]]], peak: int) -> list[str]:
    """Prints the medians; what is wrong with them."""
    wrong = []
    median = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    base = median["undisturbed"]["p99"]
    for name, one in median.items():
        ratio = one["p99"] / base
        print(f"{name:12} p50 {one['p50']:.2f} ms, p99 {one['p99']:.2f} ms, {ratio:.2f} of the undisturbed; "
              f"CONNECT p50 {one['connect_p50']:.2f} ms, p99 {one['connect_p99']:.2f} ms, "
              f"{sum(each['connects_refused'] for each in found[name]):.0f} refused")
        if ratio > RATIO_MAX:
            wrong.append(f"{name}: the p99 is {ratio:.2f} times the undisturbed one, more than {RATIO_MAX}")
        for key in ("lost", "unsent", "refused", "connects_unanswered"):
            if total := sum(one[key] for one in found[name]):
                wrong.append(f"{name}: {total:.0f} {key}")
    print(f"memory: {peak / (1 << 20):.0f} MiB at most, of {LIMIT_BYTES >> 20} MiB")
    if peak >= LIMIT_BYTES:
        wrong.append("the process took more than its limit")
    return wrong


def main() -> int:
    """Prints what was measured, and what is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default 8)")
    parser.add_argument("--nice", type=int, default=19, help="of attackers, which share the processors (default 19)")
    parser.add_argument("--unpaced", action="store_true", help="attackers do as much as they can")
    parser.add_argument("--ceiling", type=int, default=CEILING_BYTES, help="limits.memory_bytes_max")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * HALF_OPEN)), hard))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} processors for the broker, the stream and {len(KINDS)} attackers, "
          f"{'unpaced' if options.unpaced else 'paced'}, of nice {options.nice}")
    with tempfile.TemporaryDirectory(prefix="half-open-", dir=SCRATCH) as scratch:
        folder = Path(scratch)
        (folder / "bellbird.toml").write_text(SETTINGS.format(ceiling=options.ceiling))
        broker = Broker(folder / "data", shards=2).offer_websocket().offer_tls(Certificates(folder / "tls"))
        broker.arguments = [f"--config={folder / 'bellbird.toml'}"]
        with broker:
            try:
                found = run(broker, options)
                wrong = judge(found, peak_bytes(broker))
            except (AssertionError, OSError) as error:
                wrong = [str(error)]
            if broker.process.child.poll() is not None:
                wrong.append(f"the broker has ended with status {broker.process.child.poll()}")
        wrong += ["the log speaks of a panic"] if "panic" in broker.log() else []
        if wrong:
            print(broker.log()[-4000:], file=sys.stderr)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
