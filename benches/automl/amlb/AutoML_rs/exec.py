"""Fits and predicts one task of the AutoML Benchmark with the program `automl`."""

import csv
import json
import logging
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from frameworks.shared.callee import call_run, result
from frameworks.shared.utils import Timer

log = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent

# The benchmark's names of metrics, and those of `automl fit --metric`; where one is missing, the one that ranks models most alike.
METRICS = {
    "acc": "accuracy",
    "balacc": "balanced_accuracy",
    "auc": "roc_auc",
    "auc_ovr": "roc_auc",
    "auc_ovo": "roc_auc",
    "logloss": "log_loss",
    "f1": "f1",
    "mae": "mae",
    "mse": "rmse",
    "rmse": "rmse",
    "r2": "r2",
}


def run(dataset, config):
    """One task: fits on the training table within the limits of `config`, predicts the test table, and returns both with probabilities."""
    classes = config.type == "classification"
    with tempfile.TemporaryDirectory(dir=getattr(config, "result_dir", None)) as folder:
        work = Path(folder)
        truth = split_test(Path(dataset.test.path), dataset.target.name, work / "test.csv")
        with Timer() as training:
            fitted = call(fit_command(dataset, config, work))
        with Timer() as predicting:
            call(predict_command(config, work, classes))
        rows = read_rows(work / "predictions.csv")
    labels, probabilities = read_probabilities(rows, dataset.target.classes) if classes else (None, None)
    predictions = [row["prediction"] for row in rows]
    return result(
        output_file=config.output_predictions_file,
        predictions=np.array(predictions if classes else numbers(predictions)),
        truth=np.array(truth if classes else numbers(truth)),
        probabilities=None if probabilities is None else np.array(probabilities),
        probabilities_labels=labels,
        target_is_encoded=False,
        models_count=json.loads(fitted).get("trials"),
        training_duration=training.duration,
        predict_duration=predicting.duration,
    )


def fit_command(dataset, config, work):
    """The command that fits. Parameters of the framework are settings of the run, but `_binary`, `_strategy` and `_flags` (a list)."""
    parameters = config.framework_params
    command = [binary(parameters), "fit", str(dataset.train.path), "--target", dataset.target.name, "--task", config.type]
    command += ["--time-limit", f"{int(config.max_runtime_seconds)}s", "--workers", str(max(config.cores, 1))]
    command += ["--out", str(work / "model.automl"), "--run-dir", str(work / "run"), "--format", "json", "--quiet"]
    if config.max_mem_size_mb and config.max_mem_size_mb > 0:
        command += ["--memory-limit", f"{int(config.max_mem_size_mb)}MB"]
    if config.seed is not None:
        command += ["--seed", str(config.seed)]
    if config.metric in METRICS:
        command += ["--metric", METRICS[config.metric]]
    else:
        log.warning("There is no metric %s; the default is improved.", config.metric)
    if "_strategy" in parameters:
        command += ["--strategy", parameters["_strategy"]]
    for name in dataset.categorical:
        command += ["--set", f"evaluator.types.{json.dumps(name)}=category"]
    for key, value in parameters.items():
        if not key.startswith("_"):
            command += ["--set", f"{key}={json.dumps(value)}"]
    return command + list(parameters.get("_flags", []))


def predict_command(config, work, classes):
    """The command that predicts."""
    command = [binary(config.framework_params), "predict", str(work / "model.automl"), str(work / "test.csv")]
    return command + ["--out", str(work / "predictions.csv"), "--quiet"] + (["--proba"] if classes else [])


def binary(parameters):
    """The program: the parameter `_binary`, or what setup.sh put beside this file."""
    return parameters.get("_binary") or str(HERE / "bin" / "automl")


def call(command):
    """Runs a command and returns what it printed; a failure carries the end of its messages."""
    log.info("Running %s", " ".join(command))
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    if done.stderr:
        log.info("%s", done.stderr)
    if done.returncode != 0:
        raise RuntimeError(f"automl {command[1]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def split_test(source, target, out):
    """Copies the test table without its target, and returns the target."""
    with open(source, newline="", encoding="utf-8") as read, open(out, "w", newline="", encoding="utf-8") as write:
        rows = csv.reader(read)
        header = next(rows)
        at = header.index(target)
        writer = csv.writer(write, lineterminator="\n")
        writer.writerow(header[:at] + header[at + 1 :])
        truth = []
        for row in rows:
            truth.append(row[at])
            writer.writerow(row[:at] + row[at + 1 :])
    return truth


def read_rows(path):
    """The rows of a CSV file by column name."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_probabilities(rows, classes):
    """Labels and probabilities by row: of all classes of the task, 0 for those that the training table lacks."""
    prefix = "proba_"
    labels = [name.removeprefix(prefix) for name in (rows[0] if rows else {}) if name.startswith(prefix)]
    seen = {normal(label) for label in labels}
    absent = [str(label) for label in classes or [] if normal(str(label)) not in seen]
    return labels + absent, [[float(row[prefix + label]) for label in labels] + [0.0] * len(absent) for row in rows]


def normal(label):
    """A label as the benchmark compares them."""
    return label.strip().lower()


def numbers(texts):
    """Texts as numbers."""
    return [float(text) for text in texts]


if __name__ == "__main__":
    call_run(run)
