#!/usr/bin/env python3
"""What readers of the live page cost a run: seconds a step and CPU seconds a step, with 50 readers of its events and with
none, in turns within one run.

    python3 tools/bench/watched_steps.py [--millrace build/release/millrace] [--pipeline pipelines/quickstart.toml]
        [--readers 50] [--phases 8] [--steps 3] [--set KEY=VALUE ...]

A phase begins and ends with a step; its first step is left out, in which readers come or go. Readers take everything and
are another process of the lowest priority: on a machine whose cores the run uses, they still take time from it that readers
on other machines would not. So CPU seconds of the run's process are the second figure, and those of the page's own thread
the third. Ratios are of the medians over phases. Prints a line a phase, then the ratios. Exit status 1 if a reader was
turned away.
"""
import argparse
import json
import os
import pathlib
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


def read_all(url, count):
    """Reads the events with so many connections until stdin ends, then prints the bytes and the connections that were
    not turned away."""
    os.nice(19)
    at = urllib.parse.urlparse(url)
    ready = selectors.DefaultSelector()
    heard = {}
    for _ in range(count):
        reader = socket.create_connection((at.hostname, at.port))
        reader.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ready.register(reader, selectors.EVENT_READ)
        heard[reader] = [0, b""]
    ready.register(sys.stdin, selectors.EVENT_READ)
    ended = False
    while not ended:
        for key, _ in ready.select():
            if key.fileobj is sys.stdin:
                ended = True
            elif data := key.fileobj.recv(1 << 16):
                heard[key.fileobj][0] += len(data)
                heard[key.fileobj][1] = heard[key.fileobj][1] or data[:15]
            else:
                ready.unregister(key.fileobj)
    print(sum(n for n, _ in heard.values()), sum(head == b"HTTP/1.1 200 OK" for _, head in heard.values()))


def process_s(pid):
    """CPU seconds of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def thread_s(schedstat):
    """CPU seconds of a thread, which are less than a tick."""
    return int(schedstat.read_text().split()[0]) / 1e9


def page_thread(pid):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "watch":
            return task / "schedstat"
    raise SystemExit("the run has no thread 'watch'")


class Run:
    def __init__(self, given, folder):
        command = [given.millrace, "run", given.pipeline, "--output", str(folder), "--listen", "127.0.0.1:0",
                   "--set", f"run.steps={1 + given.phases * (given.steps + 1)}", "--set", "run.checkpoint_every=0"]
        for setting in given.set:
            command += ["--set", setting]
        self.words = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=self.words)
        self.metrics = folder / "metrics.jsonl"
        self.url = self.wait_for(self.address, "the page's address")
        self.thread = page_thread(self.process.pid)

    def address(self):
        self.words.seek(0)
        found = re.search(rb"watch it at (\S+)\n", self.words.read())
        return found and found[1].decode()

    def wait_for(self, what, name):
        while not (found := what()):
            if self.process.poll() is not None:
                self.words.seek(0)
                raise SystemExit(f"the run ended before {name}: {self.words.read().decode()[-2000:]}")
            time.sleep(0.02)
        return found

    def step(self, number):
        """Waits for the step's end: when it was, CPU seconds of the process, of the page's thread."""
        def row():
            try:
                rows = [json.loads(line) for line in self.metrics.read_text().split("\n")[:-1]]
            except OSError:
                return None
            return next((r for r in rows if r["step"] == number and "policy/version" in r), None)
        found = self.wait_for(row, f"step {number}")
        return found["wall_s"], process_s(self.process.pid), thread_s(self.thread)


def measured(given):
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(given, pathlib.Path(scratch) / "run")
        done, phases = 1, []
        run.step(done)
        for phase in range(given.phases):
            readers = given.readers if phase % 2 else 0
            crowd = readers and subprocess.Popen([sys.executable, __file__, "--read", run.url, str(readers)],
                                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            before = run.step(done + 1)
            after = run.step(done + 1 + given.steps)
            done += 1 + given.steps
            told = (0, 0)
            if crowd:
                told = tuple(int(word) for word in crowd.communicate("")[0].split())
            figures = [(b - a) / given.steps for a, b in zip(before, after)]
            phases.append((readers, figures))
            print(f"{readers:3} readers: {figures[0]:.3f} s a step, {figures[1]:.3f} s CPU, of which the page "
                  f"{figures[2]:.4f}; {told[0] / 1e6:.1f} MB told", flush=True)
            if told[1] != readers:
                raise SystemExit(f"{readers - told[1]} of {readers} readers were turned away")
        run.process.wait()
        return phases


def main():
    if sys.argv[1:2] == ["--read"]:
        return read_all(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--pipeline", default="pipelines/quickstart.toml")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--phases", type=int, default=8, help="an even number")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of a phase")
    parser.add_argument("--set", action="append", default=[], help="a setting of the run")
    phases = measured(parser.parse_args())
    ratios = [statistics.median(f[i] for n, f in phases if n) / statistics.median(f[i] for n, f in phases if not n)
              for i in (0, 1)]
    share = statistics.median(f[2] / f[1] for n, f in phases if n)
    busy = statistics.median(f[2] / f[0] for n, f in phases if n)
    print(f"with readers / without: step time {ratios[0]:.3f}, CPU of the run {ratios[1]:.3f}; the page's thread has "
          f"{100 * share:.2f} % of the run's CPU and takes {1000 * busy:.1f} ms of a core a second")


if __name__ == "__main__":
    main()
