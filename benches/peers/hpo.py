#!/usr/bin/env python3
"""Optuna's samplers on the tables of `benches/examples/hpo_tables.rs`, in the same form.

    python benches/peers/hpo.py DATA/hpo [SEEDS]

The ordered values of a table are searched by position, as there.
"""

import csv
import gzip
import json
import statistics
import sys
from pathlib import Path

import optuna

EVALUATIONS = [25, 50, 75, 100]
TABLES = [
    ("hpobench_car", "hpobench_mlp"),
    ("hpobench_credit_g", "hpobench_mlp"),
    ("hpobench_phoneme", "hpobench_mlp"),
    ("hpobench_vehicle", "hpobench_mlp"),
    ("hpolib_parkinsons_telemonitoring", "hpolib_fcnet"),
    ("hpolib_protein_structure", "hpolib_fcnet"),
]


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data, seeds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    spaces = json.loads((data / "spaces.json").read_text())
    print(f"| table | strategy | {EVALUATIONS} evaluations: regret in % |\n|---|---|---|", flush=True)
    for name, family in TABLES:
        sign = -1 if family == "hpobench_mlp" else 1
        with gzip.open(data / f"{name}.csv.gz", "rt") as file:
            rows = csv.reader(file)
            next(rows)
            losses = {row[0]: sign * statistics.fmean(map(float, row[1:])) for row in rows}
        best, unit = min(losses.values()), statistics.median(losses.values()) - min(losses.values())
        order, space = spaces[family]["order"], spaces[family]["space"]

        def loss(trial):
            digits = []
            for key in order:
                values = space[key]
                if isinstance(values[0], str):
                    digits.append(values.index(trial.suggest_categorical(key, values)))
                else:
                    digits.append(trial.suggest_int(key, 0, len(values) - 1))
            return losses["".join(map(str, digits))]

        samplers = {
            "Optuna TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
            "Optuna TPE, multivariate": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        }
        for sampler, make in samplers.items():
            regrets = []
            for seed in range(seeds):
                study = optuna.create_study(sampler=make(seed))
                study.optimize(loss, n_trials=EVALUATIONS[-1])
                found = [trial.value for trial in study.trials]
                regrets.append([100 * (min(found[:count]) - best) / unit for count in EVALUATIONS])
            cells = []
            for column in zip(*regrets):
                cells.append(f"{statistics.fmean(column):.2f}±{statistics.stdev(column) / seeds**0.5:.2f}")
            print(f"| {name} | {sampler} | {'  '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
