#!/usr/bin/env python3
"""Copies a run's figures to MLflow, beside the run or after it: tools/follow_mlflow.py RUN [--project EXPERIMENT].

A restart goes on with the same MLflow run. Of the first row after it the run is asked: a follower that was killed may have
told it, or a part of it.
"""

import mlflow

from followed_run import follow


def named(figures):
    """By the names that MLflow takes: no '@', and no figure that is also a folder of others, such as `updates` beside
    `updates/stopped_on_kl`. It becomes `updates/value`."""
    folders = {name[:at] for name in figures for at, letter in enumerate(name) if letter == "/"}
    return {(name + "/value" if name in folders else name).replace("@", "_at_"): value
            for name, value in figures.items()}


class Teller:
    def __init__(self, run, project):
        mlflow.set_experiment(project)
        self.may_be_told = bool(run.place["id"])
        started = mlflow.start_run(run_id=run.place["id"], run_name=None if run.place["id"] else run.name())
        if not run.place["id"]:
            mlflow.log_text(run.config(), "resolved.toml")
        run.place["id"] = self.id = started.info.run_id

    def has(self, step, name):
        return any(point.step == step for point in mlflow.MlflowClient().get_metric_history(self.id, name))

    def tell(self, step, figures):
        figures = named(figures)
        if self.may_be_told:
            figures = {name: value for name, value in figures.items() if not self.has(step, name)}
            self.may_be_told = False
        if figures:
            mlflow.log_metrics(figures, step=step)

    def show(self, groups):
        mlflow.log_dict({"groups": groups}, "samples.json")

    def finish(self):
        mlflow.end_run()


if __name__ == "__main__":
    follow("mlflow", "Copies a run's figures to MLflow.", Teller)
