#!/usr/bin/env python3
"""Pulls of large bundles against UCX's own benchmark, in turns: by lane and size.

    python3 tools/bench/pulls.py [--perftest ucx_perftest] [--bench build/release/tools/bench/bench_transport]
        [--sizes 67108864 1073741824] [--rounds 3] [--seconds 3]

`ucx_perftest` is in Debian's package ucx-utils. It sends active messages of the size from one process to another
(ucp_am_bw, at most one unanswered), over the same lane: "tcp" on loopback, or UCX's shared memory. Our pulls come one after
the other. Those over "tcp" are checked against their checksums; those within the host are mapped, and each is read once.
Figures are medians over rounds, MB/s of 10^6 bytes. Exit status 1 if a pull is below 0.9 of UCX's.
"""
import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANES = {"tcp": ("tcp", {"UCX_TLS": "tcp", "UCX_NET_DEVICES": "lo"}), "shm": ("auto", {"UCX_TLS": "shm"})}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def ucx_rate(perftest, environment, size, seconds):
    """MB/s. UCX writes 2^20 bytes as "MB"."""
    port, environment = free_port(), os.environ | environment | {"UCX_WARN_UNUSED_ENV_VARS": "n"}
    server = subprocess.Popen([perftest, "-p", str(port)], env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    count = max(4, int(seconds * 1e9 / size))
    command = [perftest, "127.0.0.1", "-p", str(port), "-t", "ucp_am_bw", "-s", str(size), "-n", str(count), "-w", "2",
               "-O", "1", "-f", "-v"]
    try:
        for _ in range(100):
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            found = re.findall(r"^\s*\d+,(.*)$", done.stdout, re.M)
            if found:
                return float(found[-1].split(",")[4]) * 2**20 / 1e6 # iterations, latencies..., bandwidth overall
            time.sleep(0.05) # the server does not listen yet
        raise SystemExit(f"ucx_perftest: {done.stderr or done.stdout}")
    finally:
        server.kill()
        server.wait()


def our_rate(bench, wire, size, seconds):
    done = subprocess.run([bench, str(seconds), wire, str(size)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{bench}: {done.stderr}")
    return float(done.stdout.split()[0])


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--perftest", default="ucx_perftest")
    ask.add_argument("--bench", default=str(ROOT / "build/release/tools/bench/bench_transport"))
    ask.add_argument("--sizes", type=int, nargs="+", default=[64 << 20, 1 << 30])
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--seconds", type=float, default=3)
    given = ask.parse_args()
    fits = True
    for lane, (wire, environment) in LANES.items():
        for size in given.sizes:
            pairs = [(ucx_rate(given.perftest, environment, size, given.seconds),
                      our_rate(given.bench, wire, size, given.seconds)) for _ in range(given.rounds)]
            theirs, ours = (statistics.median(x) for x in zip(*pairs))
            ratio = statistics.median(b / a for a, b in pairs)
            fits = fits and ratio >= 0.9
            print(f"{lane}, {size >> 20} MiB: UCX {theirs:.0f} MB/s, pulls {ours:.0f} MB/s: {ratio:.2f} "
                  f"({', '.join(f'{b / a:.2f}' for a, b in pairs)})", flush=True)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
