#!/usr/bin/env python3
"""Copies a run's figures to Weights & Biases, beside the run or after it: tools/follow_wandb.py RUN [--project NAME].

A restart goes on with the same W&B run, from the newest step that the server has: W&B keeps rows in memory for a while, and
a follower that is killed takes them along. W&B itself refuses a step that is not above the last one. In W&B's offline mode
there is no server to ask: such rows are missing then, and none is doubled. Rows of evaluations carry the version as
`evaluation/version`, because they may come later than newer steps.
"""

import uuid

import wandb

from followed_run import follow


class Teller:
    def __init__(self, run, project):
        run.place["id"] = run.place["id"] or uuid.uuid4().hex[:12]
        self.run = wandb.init(project=project, name=run.name(), id=run.place["id"], resume="allow",
                              config={"pipeline": run.config()})
        if self.run.resumed:
            run.place["step"] = min(run.place["step"], self.run.step - 1)  # `step` is the next one
        self.run.define_metric("evaluation/version")
        self.run.define_metric("evaluation/*", step_metric="evaluation/version")

    def tell(self, step, figures):
        if "policy/version" in figures:
            self.run.log(figures, step=step)
        else:
            self.run.log({**figures, "evaluation/version": step})

    def show(self, groups):
        rows = [[group["step"], group["group"], group["prompt"], answer["text"], answer["reward"]]
                for group in groups for answer in group["answers"]]
        # Not with `log`, which would use a step up that the run may still come to.
        self.run.summary["samples"] = wandb.Table(columns=["step", "group", "prompt", "answer", "reward"], data=rows)

    def finish(self):
        self.run.finish()


if __name__ == "__main__":
    follow("wandb", "Copies a run's figures to Weights & Biases.", Teller)
