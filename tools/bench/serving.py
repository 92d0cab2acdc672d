#!/usr/bin/env python3
"""Tokens a second of `millrace serve` with many clients at once, against `millrace generate` with the same prompts.

    python3 tools/bench/serving.py MODEL [--millrace build/release/millrace] [--clients 32] [--requests 4] [--rounds 5]

MODEL is a folder or a GGUF file. Each client is a thread with a connection of its own; it takes the next prompt that
nobody has and asks for a chat's reply of 96 tokens at temperature 0, until there are no more. `generate` answers all the prompts with as many slots as there are
clients. The two take turns. Time is from the first request to the last reply, and what `generate` says of its own; a
reply's tokens are as many as its `usage` says. Prints both of each round, and the median of their ratios.
"""
import argparse
import collections
import http.client
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENS = 96


def prompts_of(given):
    """One an answer: no two begin alike behind the template's own words."""
    return [f"{i}. Tell me in a few sentences how to get from {i * 7 % 101} to {i * 13 % 103} in {i % 9 + 2} steps."
            for i in range(given.clients * given.requests)]


def generated(given, folder):
    """Tokens a second of `generate`."""
    rows = folder / "prompts.jsonl"
    rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts_of(given)))
    said = subprocess.run([given.millrace, "generate", given.model, "--file", rows, "--temperature", "0",
                           "--max-new-tokens", str(TOKENS), "--slots", str(given.clients)],
                          check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    return float(re.search(r": ([\d.]+) tokens/s", said).group(1))


def ask(port, prompts, counts):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while prompts:
        prompt = prompts.popleft()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps({"messages": [{"role": "user", "content": prompt}], "temperature": 0,
                                       "max_tokens": TOKENS}),
                           {"Content-Type": "application/json"})
        counts.append(json.loads(connection.getresponse().read())["usage"]["completion_tokens"])
    connection.close()


def served(given):
    """Tokens a second of `serve`."""
    server = subprocess.Popen([given.millrace, "serve", given.model, "--listen", "127.0.0.1:0", "--slots",
                               str(given.clients)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"http://127.0.0.1:(\d+)", server.stdout.readline()).group(1))
        prompts, counts = collections.deque(prompts_of(given)), []
        wanted = len(prompts)
        clients = [threading.Thread(target=ask, args=(port, prompts, counts)) for _ in range(given.clients)]
        began = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if len(counts) != wanted:
            raise SystemExit(f"{wanted - len(counts)} requests were not answered")
        return sum(counts) / (time.monotonic() - began)
    finally:
        server.terminate()
        server.wait()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=pathlib.Path)
    options.add_argument("--millrace", default=ROOT / "build/release/millrace")
    options.add_argument("--clients", type=int, default=32)
    options.add_argument("--requests", type=int, default=4, help="for each client")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            generate, serve = generated(given, pathlib.Path(folder)), served(given)
            ratios.append(serve / generate)
            print(f"serve {serve:.0f}, generate {generate:.0f} tokens/s: {ratios[-1]:.3f}", flush=True)
    print(f"median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
