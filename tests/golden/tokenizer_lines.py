"""Lines that are hard on a byte-level BPE: prose, code, every script, emoji, white space, near misses of special tokens."""

import random
import sysconfig
from pathlib import Path

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you
were her all she there would their we him been has when who will more no if out so said what up its about into than them can only
other new some could time these two may then do first any my now such like our over man me even most made after also did many before
must through back years where much your way well down should because each just those people Mr how too little state good very make
world still own see men work long get here between both life being under never day same another know while last might us great old
year off come since against go came right used take three addition subtract number reply answer policy reward gradient""".split()
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'LL", "'D", "\u2019s", "'\u017f", "''s", "'x"]
SPACES = [" ", "  ", "   ", "\t", "\t\t", " \t ", "\n", "\n\n", "\r\n", "\r", " \n ", "\n ", "\u00a0", "\u3000", "\u2003", "\u0085", "\u180e", "\u200b",
          "\u2028", "\u202f", "\x0b", "\x0c", "\x1c", "\ufeff"]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
         "\U0001f9d1\u200d\U0001f680", "1\ufe0f\u20e3", "\U0001f926\U0001f3fe\u200d\u2642\ufe0f", "\u2603", "\U0001fae0", "\U0001f1e6"]
SCRIPTS = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
           (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF), (0x3040, 0x30FF),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF)]
DIGITS = ["0", "7", "12", "365", "2024", "31415926535", "1,234.50", "3.14e-10", "0xDEADBEEF", "\u0663\u0664", "\u0967\u0968", "\uff11\uff12", "\u00b2\u00b3", "\u00bd", "\u2167", "\u2460",
          "\U0001d7d8\U0001d7d9"]


def code_lines(limit=40_000):
    """Lines of Python's own library, in a fixed order."""
    lines = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        lines += path.read_text(encoding="utf-8", errors="ignore").splitlines()
        if len(lines) > limit:
            break
    return [line for line in lines if line.strip()]


def make_lines(count, seed, special=()):
    """`count` strings, the same for the same arguments (and the same Python library)."""
    rng = random.Random(seed)
    code = code_lines()
    special = list(special) or ["<|endoftext|>"]

    def character():
        if rng.random() < 0.1:
            while True:
                c = rng.randrange(1, 0x110000)
                if not 0xD800 <= c < 0xE000:
                    return chr(c)
        return chr(rng.randint(*rng.choice(SCRIPTS)))

    def word():
        w = rng.choice(WORDS)
        return rng.choice([w, w, w, w.capitalize(), w.upper()])

    def prose():
        return rng.choice([" ", " ", "  "]).join(word() + (rng.choice(CONTRACTIONS) if rng.random() < 0.1 else "") for _ in range(rng.randint(1, 25)))

    def script():
        low, high = rng.choice(SCRIPTS)
        return "".join(chr(rng.randint(low, high)) if rng.random() < 0.85 else " " for _ in range(rng.randint(1, 30)))

    def marker():
        token = rng.choice(special)
        cut = rng.randint(0, len(token))
        return rng.choice([token, token, token[:cut], token[cut:], token * 2, " " + token + " ", "a" + token + "b", token.upper()])

    makers = [(prose, 6), (lambda: rng.choice(code), 6), (script, 3), (lambda: "".join(character() for _ in range(rng.randint(1, 20))), 2),
              (lambda: rng.choice(EMOJI), 2), (lambda: rng.choice(SPACES) * rng.randint(1, 4), 3), (lambda: rng.choice(DIGITS), 3),
              (marker, 1), (lambda: rng.choice("ae!-=. \u00e9\u4e2d\t") * rng.randint(1, 90), 1), (lambda: word() + chr(rng.randint(0x300, 0x345)), 1),
              (lambda: chr(rng.randrange(32)), 1)]
    chosen, weights = zip(*makers)
    return ["".join(rng.choice(["", "", " "]) + maker() for maker in rng.choices(chosen, weights, k=rng.randint(1, 6))) for _ in range(count)]
