#!/usr/bin/env python3
"""Copies a run's figures to MLflow, beside the run or after it: tools/follow_mlflow.py RUN [--project EXPERIMENT].

A restart goes on with the same MLflow run.
"""

import mlflow

from followed_run import follow


class Teller:
    def __init__(self, run, project):
        mlflow.set_experiment(project)
        started = mlflow.start_run(run_id=run.place["id"], run_name=None if run.place["id"] else run.name())
        if not run.place["id"]:
            mlflow.log_text(run.config(), "resolved.toml")
        run.place["id"] = started.info.run_id

    def tell(self, step, figures):
        # MLflow takes no '@' in a name.
        mlflow.log_metrics({name.replace("@", "_at_"): value for name, value in figures.items()}, step=step)

    def finish(self, groups):
        if groups:
            mlflow.log_dict({"groups": groups}, "samples.json")
        mlflow.end_run()


if __name__ == "__main__":
    follow("mlflow", "Copies a run's figures to MLflow.", Teller)
