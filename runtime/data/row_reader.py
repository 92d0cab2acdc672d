"""Gives the rows of a Parquet file to Millrace as JSON: started with the file's path, asked over descriptor 3.

A request is a line of row numbers. The answer is a frame for each row that was read, and a frame `done`. A frame is the
line `KIND NUMBER BYTES` with so many bytes behind it: `row`, JSON; `bad`, why this row cannot be read; `open`, once at
the start, the names of the columns, with the number of rows; `fail`, why nothing can be read. The first row asked for
is always answered, the others until they fill a frame budget. Row groups that were read last are kept.
"""
import sys
sys.path[:] = [place for place in sys.path if place]  # no module of the working directory
import collections, json, math, os

MOST_BYTES = 16 << 20  # of a row, and of the rows of one answer
KEPT_BYTES = 1 << 30   # of row groups


def told(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def plain(value):
    """The value with null for every number that JSON cannot write, and for bytes that are no text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value


class rows_of_file:
    def __init__(self, path):
        import pyarrow.parquet as parquet
        self.file = parquet.ParquetFile(path)
        self.columns = list(self.file.schema_arrow.names)
        metadata = self.file.metadata
        self.starts = [0]
        for group in range(metadata.num_row_groups):
            self.starts.append(self.starts[-1] + metadata.row_group(group).num_rows)
        self.kept = collections.OrderedDict()

    def table(self, group):
        if group in self.kept:
            self.kept.move_to_end(group)
        else:
            self.kept[group] = self.file.read_row_group(group, use_threads=False)
            while len(self.kept) > 1 and sum(table.nbytes for table in self.kept.values()) > KEPT_BYTES:
                self.kept.popitem(last=False)
        return self.kept[group]

    def group_of(self, row):
        import bisect
        return bisect.bisect_right(self.starts, row) - 1

    def text(self, row):
        group = self.group_of(row)
        [value] = self.table(group).slice(row - self.starts[group], 1).to_pylist()
        return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, default=str).encode()


def main():
    channel = os.dup(3)
    requests, answers = os.fdopen(3, "rb"), os.fdopen(channel, "wb")

    def put(kind, number, content):
        answers.write(b"%s %d %d\n" % (kind, number, len(content)) + content)

    try:
        rows = rows_of_file(sys.argv[1])
        put(b"open", rows.starts[-1], json.dumps(rows.columns).encode())
    except ImportError as error:
        put(b"fail", 0, f"no pyarrow in {sys.executable} ({told(error)}), want it: python3 -m venv env && "
            "env/bin/pip install pyarrow, and python = \"env/bin/python\" beside file".encode())
    except Exception as error:
        put(b"fail", 0, f"{told(error)}, want a Parquet file".encode(errors="replace"))
    answers.flush()
    for request in requests:
        first, *others = [int(word) for word in request.split()]
        total = 0
        for row in [first] + sorted(others, key=rows.group_of):
            try:
                kind, content = b"row", rows.text(row)
                if len(content) > MOST_BYTES:
                    kind, content = b"bad", b"found %d bytes, want at most 16 MiB a row" % len(content)
            except Exception as error:
                kind, content = b"bad", f"cannot be read: {told(error)}".encode(errors="replace")
            total += len(content)
            if total > MOST_BYTES and row != first:
                break
            put(kind, row, content)
        put(b"done", 0, b"")
        answers.flush()


main()
