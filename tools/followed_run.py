"""What the followers of a run share: the new rows of its files since the place that is kept in its folder."""

import argparse
import json
import os
import signal
import time


class Run:
    """A run's folder, read from a kept place on. Python 3.9; the samples need the package zstandard."""

    def __init__(self, folder, tracker):
        if not os.path.exists(os.path.join(folder, "resolved.toml")):
            raise SystemExit(f"{folder}: no run's folder (no resolved.toml in it)")
        self.folder = folder
        self.place_file = os.path.join(folder, f"follow_{tracker}.json")
        self.place = {"id": None, "step": 0, "evaluations": []}
        if os.path.exists(self.place_file):
            with open(self.place_file, encoding="utf-8") as kept:
                self.place = json.load(kept)

    def keep_place(self):
        with open(self.place_file + ".new", "w", encoding="utf-8") as kept:
            json.dump(self.place, kept)
            kept.flush()
            os.fsync(kept.fileno())
        os.replace(self.place_file + ".new", self.place_file)

    def status(self):
        try:
            with open(os.path.join(self.folder, "status.json"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def name(self):
        return self.status().get("name") or os.path.basename(os.path.abspath(self.folder))

    def config(self):
        with open(os.path.join(self.folder, "resolved.toml"), encoding="utf-8") as file:
            return file.read()

    def ended(self):
        return self.status().get("state") in ("finished", "stopped", "failed")

    def new_rows(self):
        """(step, figures) of each row of metrics.jsonl that was not told yet: steps, and evaluations by version."""
        rows = []
        try:
            with open(os.path.join(self.folder, "metrics.jsonl"), encoding="utf-8") as file:
                lines = file.read().split("\n")[:-1]  # the last one is torn, or empty
        except OSError:
            return rows
        for line in lines:
            row = json.loads(line)
            step = row.pop("step")
            figures = {name: value for name, value in row.items() if value is not None and name != "wall_s"}
            if "policy/version" in figures:
                if step > self.place["step"]:
                    rows.append((step, figures))
            elif [step, sorted(figures)[0]] not in self.place["evaluations"]:
                rows.append((step, figures))
        return rows

    def told(self, step, figures):
        """The row is with the tracker now."""
        if "policy/version" in figures:
            self.place["step"] = max(step, self.place["step"])
        else:
            self.place["evaluations"].append([step, sorted(figures)[0]])
        self.keep_place()

    def samples(self, most=8):
        """The newest groups, as they stand in the trajectories; none where zstandard is missing."""
        try:
            import zstandard
        except ImportError:
            return []
        files = [name for name in os.listdir(self.folder) if name.startswith("trajectories-")]
        if not files:
            return []
        newest = max(files, key=lambda name: int(name.split("-")[1].split(".")[0]))
        with open(os.path.join(self.folder, newest), "rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            groups = []
            for line in reader.read().decode("utf-8", "replace").split("\n")[:-1]:
                groups = (groups + [json.loads(line)])[-most:]
        return groups


def follow(tracker, doing, make):
    """Reads the command line and copies until the run has ended. `make(run, project)` returns the object that tells. A
    SIGTERM or Ctrl-C ends it as well as the run's end does, without samples."""
    parser = argparse.ArgumentParser(description=doing)
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--project", default="millrace", help="project or experiment")
    parser.add_argument("--once", action="store_true", help="copy what is there, then end")
    given = parser.parse_args()
    run = Run(given.run, tracker)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    teller = None
    try:
        teller = make(run, given.project)
        run.keep_place()
        while True:
            ended = given.once or run.ended()  # asked first: what is written before the end is copied
            for step, figures in run.new_rows():
                teller.tell(step, figures)
                run.told(step, figures)
            if ended:
                break
            time.sleep(1)
        groups = run.samples()
        if groups:
            teller.show(groups)
    except KeyboardInterrupt:
        pass
    finally:
        if teller:
            teller.finish()
