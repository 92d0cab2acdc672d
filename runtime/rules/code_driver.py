"""Runs an answer's program on tests, as process 1 of a sandbox; the rule `code` starts it there and nowhere else.

stdin holds fields, each its length in bytes, a line end, and so many bytes: the kind of tests ("stdin", "call",
"assert"), the seconds and the bytes of output that one test may take, "stop" to end at a test whose program fails, a
token, the program, what runs before it, the function that is called; then a field a test.

stdout gets "ready" and a line end before anything of the answer runs, or "broken" and why where what the row brings does
not work by itself: it is no Python, or, tried in a process without the answer, its set-up fails or a module that its
tests import is not there. For each test follow a line, how the program ended (exit, error, time, output) and a length in
bytes, and so many bytes: what it printed (stdin), the result as JSON (call), or the token if the test passed (assert).
Nothing that a test expects is in here but in statements of assert.
"""
import ast
import os
import select
import signal
import sys
import time

NAMES = {  # what answers use without importing it, as they would in an editor of a contest
    "typing": "Any Callable DefaultDict Deque Dict FrozenSet Generator Iterable Iterator List Mapping NamedTuple"
              " Optional Sequence Set Tuple Type Union",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "heapq": "heapify heappop heappush heappushpop heapreplace nlargest nsmallest",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "functools": "cache cmp_to_key lru_cache partial reduce",
    "itertools": "accumulate chain combinations combinations_with_replacement count cycle groupby islice pairwise"
                 " permutations product repeat starmap takewhile zip_longest",
    "math": "ceil comb cos exp factorial floor gcd hypot inf isqrt lcm log log10 log2 perm pi sin sqrt tan",
    "copy": "deepcopy",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits",
    "dataclasses": "dataclass field",
}
MODULES = ("bisect collections copy datetime functools heapq io itertools json math operator os random re statistics"
           " string sys time typing").split()


def read_fields():
    text = bytearray()
    while True:
        part = os.read(0, 1 << 20)
        if not part:
            break
        text += part
    at, found = 0, []
    while at < len(text):
        end = text.index(b"\n", at)
        at = end + 1 + int(text[at:end])
        found.append(bytes(text[end + 1:at]))
    return found


def write_all(descriptor, data):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest):]


def names_in(code):
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            found |= names_in(constant)
    return found


def execute(source, name, space):
    """Runs a text with the names that it does not import."""
    code = compile(source, name, "exec")
    used = names_in(code) - set(space)
    for module in MODULES:
        if module in used:
            space[module] = __import__(module)
    for module, names in NAMES.items():
        for known in used.intersection(names.split()):
            space.setdefault(known, getattr(__import__(module), known, None))
    exec(code, space)


def with_number_keys(value):
    """JSON has no numbers as keys: an argument whose keys are all numbers had them."""
    if isinstance(value, dict) and value and all(key.lstrip("-").isdigit() for key in value):
        return {int(key): item for key, item in value.items()}
    return value


def call(space, function, test):
    import json
    arguments = [with_number_keys(json.loads(line)) for line in test.decode().split("\n") if line.strip()]
    if "Solution" in space:
        called = getattr(space["Solution"](), function)
    else:
        called = space[function]
    return json.dumps(called(*arguments)).encode()


def set_up(ask):
    """@returns the names of the module that the program becomes"""
    name = "__main__" if ask.kind == "stdin" else "answer"
    module = type(sys)(name)
    sys.modules[name] = module
    sys.argv = ["answer.py"]
    sys.setrecursionlimit(600000)
    if ask.setup:
        execute(ask.setup, "setup", module.__dict__)
    return module.__dict__


def run_program(ask, test, said):
    space = set_up(ask)
    try:
        execute(ask.program, "answer.py", space)
    except SystemExit as end:
        if ask.kind != "stdin" or end.code not in (None, 0):
            raise
    if ask.kind == "call":
        write_all(said, call(space, ask.function, test))
    elif ask.kind == "assert":
        execute(test, "test", space)
        write_all(said, ask.token)
    if "threading" in sys.modules:
        threading = sys.modules["threading"]
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    if "atexit" in sys.modules:
        sys.modules["atexit"]._run_exitfuncs()
    sys.stdout.flush()


def imports_in(statements):
    """What certainly runs of a test's imports, in its functions too: none that a `try` or an `if` stands around."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield statement
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module != "answer":
            yield statement
        elif isinstance(statement, ast.FunctionDef):
            yield from imports_in(statement.body)


def rehearse(ask, _, said):
    """Runs what the row brings as far as it works without the answer, and says why it does not."""
    part = "setup"
    try:
        space = dict(set_up(ask))
        part = "test"
        for test in ask.tests:
            for statement in imports_in(ast.parse(test).body):
                exec(compile(ast.Module([statement], []), "test", "exec"), space)
    except BaseException as error:
        return write_all(said, ("%s: %s" % (part, line_of(error))).encode(errors="replace"))
    write_all(said, ask.token)


def become_program(work, ask, test, given, out, said):
    status = 1
    try:
        os.setsid()
        nothing = os.open("/dev/null", os.O_WRONLY)
        for mine, number in ((given, 0), (out, 1), (nothing, 2)):
            os.dup2(mine, number)
        said = os.dup2(said, 60, inheritable=False)
        os.closerange(3, 60)
        work(ask, test, said)
        status = 0
    finally:
        os._exit(status)


def end_all():
    """Ends every process of the sandbox but this one. @returns how each ended, by process"""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    ended = {}
    while True:
        try:
            process, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return ended
        ended[process] = status


def clear(folder):
    for entry in os.scandir(folder):
        try:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
                clear(entry.path)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
        except (OSError, RecursionError):
            pass


def follow(ask, child, test, given, out, said):
    """Feeds the program and reads from it. @returns how it ended, without its status; what it wrote, by descriptor"""
    end = os.pidfd_open(child)
    until = time.monotonic() + ask.seconds
    found = {out: bytearray(), said: bytearray()}
    rest = memoryview(test if ask.kind == "stdin" else b"")
    watched = select.poll()
    for descriptor in (end, out, said):
        watched.register(descriptor, select.POLLIN)
    watched.register(given, select.POLLOUT)
    how, feeding = None, True
    while how is None:
        left = until - time.monotonic()
        if left <= 0:
            how = "time"
            break
        for descriptor, _ in watched.poll(int(left * 1000) + 1):
            if descriptor == end:
                how = how or "exit"
            elif descriptor == given:
                try:
                    rest = rest[os.write(given, rest[:65536]):]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    rest = rest[:0]
                if not rest:
                    watched.unregister(given)
                    os.close(given)
                    feeding = False
            else:
                data = os.read(descriptor, 65536)
                if not data:
                    watched.unregister(descriptor)
                found[descriptor] += data
                if len(found[descriptor]) > ask.bytes:
                    how = "output"
    os.close(end)
    if feeding:
        os.close(given)
    return how, found


def run_test(ask, test, work=run_program):
    """@returns how the program ended, and what counts of what it wrote"""
    theirs_given, given = os.pipe()
    out, theirs_out = os.pipe()
    said, theirs_said = os.pipe()
    child = os.fork()
    if child == 0:
        become_program(work, ask, test, theirs_given, theirs_out, theirs_said)
    for descriptor in (theirs_given, theirs_out, theirs_said):
        os.close(descriptor)
    os.set_blocking(given, False)
    how, found = follow(ask, child, test, given, out, said)
    status = end_all().get(child)
    for descriptor, data in found.items():
        while how == "exit" and len(data) <= ask.bytes:  # all who write are gone
            part = os.read(descriptor, 65536)
            if not part:
                break
            data += part
        os.close(descriptor)
    if how == "exit" and status != 0:
        how = "error"
    counts = found[out if ask.kind == "stdin" else said]
    if how == "exit" and len(counts) > ask.bytes:
        how = "output"
    return how, counts[:ask.bytes]


class Question:
    def __init__(self, fields):
        self.kind, self.function = fields[0].decode(), fields[7].decode()
        self.seconds, self.bytes, self.stop = float(fields[1]), int(fields[2]), fields[3] == b"stop"
        self.token, self.program, self.setup = fields[4], fields[5], fields[6]
        self.tests = fields[8:]


def line_of(error):
    words = " ".join(str(error).split())
    return (type(error).__name__ + (": " + words if words else ""))[:300]


def broken(ask):
    """Why what the row brings does not work, whatever the answer is, and what was wanted; nothing where it does."""
    if ask.kind != "assert":
        return None
    for name, text in [("setup", ask.setup)] + [("test", test) for test in ask.tests]:
        try:
            compile(text, name, "exec")
        except (SyntaxError, ValueError) as error:
            return "%s: %s, want Python" % (name, str(error).split("\n")[0])
    if not ask.setup and not any(b"import" in test for test in ask.tests):
        return None
    how, said = run_test(ask, b"", rehearse)
    clear_all()
    if how == "exit" and said == ask.token:
        return None
    words = said.decode(errors="replace") if how == "exit" and said else "setup: " + {
        "time": "no end within %g s" % ask.seconds, "output": "more output than a test may have"}.get(how, "its process ended")
    return words + ", want what runs before any answer, with modules that are in the sandbox"


def clear_all():
    for folder in ("/tmp", "/dev/shm"):
        clear(folder)


def main():
    if os.getpid() != 1:
        sys.exit("this program ends every other process: it runs as process 1 of a sandbox only")
    ask = Question(read_fields())
    why = broken(ask)
    if why:
        return write_all(1, b"broken " + why.encode(errors="replace") + b"\n")
    write_all(1, b"ready\n")
    for test in ask.tests:
        how, found = run_test(ask, test)
        write_all(1, b"%s %d\n" % (how.encode(), len(found)) + found)
        if ask.stop and how != "exit":
            break
        clear_all()


main()
