#!/usr/bin/env python3
"""Copies a run's figures to Weights & Biases, beside the run or after it: tools/follow_wandb.py RUN [--project NAME].

A restart goes on with the same W&B run. W&B itself refuses a step that is not above the last one. Rows of evaluations
carry the version as `evaluation/version`, because they may come later than newer steps.
"""

import uuid

import wandb

from followed_run import follow


class Teller:
    def __init__(self, run, project):
        run.place["id"] = run.place["id"] or uuid.uuid4().hex[:12]
        self.run = wandb.init(project=project, name=run.name(), id=run.place["id"], resume="allow",
                              config={"pipeline": run.config()})
        self.run.define_metric("evaluation/version")
        self.run.define_metric("evaluation/*", step_metric="evaluation/version")

    def tell(self, step, figures):
        if "policy/version" in figures:
            self.run.log(figures, step=step)
        else:
            self.run.log({**figures, "evaluation/version": step})

    def finish(self, groups):
        rows = [[group["step"], group["group"], group["prompt"], answer["text"], answer["reward"]]
                for group in groups for answer in group["answers"]]
        if rows:
            self.run.log({"samples": wandb.Table(columns=["step", "group", "prompt", "answer", "reward"], data=rows)})
        self.run.finish()


if __name__ == "__main__":
    follow("wandb", "Copies a run's figures to Weights & Biases.", Teller)
