#!/usr/bin/env python3
"""Turns a Parquet file of verl's row format into JSONL, one row a line, as `kind = "source"` reads it.

    python3 tools/parquet2jsonl.py IN.parquet OUT.jsonl

Rows keep their columns. JSON has no NaN and no infinity: null stands for both. The output is written beside its place
and renamed, so that it is whole or not there.
"""
import argparse
import json
import math
import os
import sys


def fail(message):
    sys.exit(f"parquet2jsonl: {message}")


def without_nan(value):
    """The value with None for every number that JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(element) for element in value]
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="IN.parquet")
    parser.add_argument("output", metavar="OUT.jsonl")
    arguments = parser.parse_args()
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        fail("no pyarrow in this Python, want it: python3 -m venv env && env/bin/pip install pyarrow, then env/bin/python tools/parquet2jsonl.py ...")
    try:
        file = parquet.ParquetFile(arguments.input)
    except (OSError, ValueError) as error:
        fail(f"{arguments.input}: {str(error).splitlines()[0]}, want a Parquet file")
    names = file.schema_arrow.names
    if "prompt" not in names:
        fail(f"{arguments.input}: found columns {', '.join(names)}, want one named prompt")
    os.makedirs(os.path.dirname(os.path.abspath(arguments.output)), exist_ok=True)
    unfinished = arguments.output + ".unfinished"
    rows = 0
    try:
        with open(unfinished, "w", encoding="utf-8") as out:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    out.write(json.dumps(without_nan(row), ensure_ascii=False, allow_nan=False, default=str) + "\n")
                    rows += 1
        os.replace(unfinished, arguments.output)
    except OSError as error:
        if os.path.exists(unfinished):
            os.remove(unfinished)
        fail(f"{arguments.output}: {error.strerror}")
    print(f"{arguments.output}: {rows} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
