#!/usr/bin/env python3
"""Optuna's samplers and SMAC3 on the tables of `benches/examples/hpo_tables.rs`, in the same form.

    python benches/peers/hpo.py DATA/hpo [--seeds 20] [--tables NAME…] [--peers NAME…]

The ordered values of a table are searched by position, as there. Needs `pip install optuna smac`; what is not installed is left
out. SMAC3 takes about a minute for each run, Optuna a second or two.
"""

import argparse
import csv
import gzip
import json
import logging
import statistics
import tempfile
from pathlib import Path

try:
    import optuna
except ImportError:
    optuna = None
try:
    import ConfigSpace
    import smac
except ImportError:
    smac = None

EVALUATIONS = [25, 50, 75, 100]
TABLES = [
    ("hpobench_car", "hpobench_mlp"),
    ("hpobench_credit_g", "hpobench_mlp"),
    ("hpobench_phoneme", "hpobench_mlp"),
    ("hpobench_vehicle", "hpobench_mlp"),
    ("hpolib_parkinsons_telemonitoring", "hpolib_fcnet"),
    ("hpolib_protein_structure", "hpolib_fcnet"),
]


def optuna_search(sampler):
    """The losses that a sampler of Optuna finds, in order."""

    def search(order, space, losses, seed):
        def loss(trial):
            digits = []
            for key in order:
                values = space[key]
                if isinstance(values[0], str):
                    digits.append(values.index(trial.suggest_categorical(key, values)))
                else:
                    digits.append(trial.suggest_int(key, 0, len(values) - 1))
            return losses["".join(map(str, digits))]

        study = optuna.create_study(sampler=sampler(seed))
        study.optimize(loss, n_trials=EVALUATIONS[-1])
        return [trial.value for trial in study.trials]

    return search


def smac_search(order, space, losses, seed):
    """The losses that SMAC3 finds with what it is set to for hyperparameters, in order."""
    found = []

    def loss(config, seed=0):
        digits = []
        for key in order:
            values = space[key]
            digits.append(values.index(config[key]) if isinstance(values[0], str) else int(config[key]))
        found.append(losses["".join(map(str, digits))])
        return found[-1]

    configs = ConfigSpace.ConfigurationSpace(seed=seed)
    for key in order:
        values = space[key]
        if isinstance(values[0], str):
            configs.add(ConfigSpace.Categorical(key, values))
        else:
            configs.add(ConfigSpace.Integer(key, (0, len(values) - 1)))
    with tempfile.TemporaryDirectory() as folder:
        scenario = smac.Scenario(
            configs, deterministic=True, n_trials=EVALUATIONS[-1], seed=seed, output_directory=Path(folder)
        )
        facade = smac.HyperparameterOptimizationFacade(
            scenario, loss, overwrite=True, logging_level=logging.ERROR
        )
        facade.optimize()
    return found


def main():
    searches = {}
    if optuna is not None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler
        searches["Optuna TPE"] = optuna_search(lambda seed: sampler(seed=seed))
        searches["Optuna TPE, multivariate"] = optuna_search(lambda seed: sampler(seed=seed, multivariate=True))
    if smac is not None:
        searches["SMAC3"] = smac_search
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the tables")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tables", nargs="+", choices=[name for name, _ in TABLES], default=[name for name, _ in TABLES])
    parser.add_argument("--peers", nargs="+", choices=list(searches), default=list(searches))
    args = parser.parse_args()
    data, seeds = args.data, args.seeds
    spaces = json.loads((data / "spaces.json").read_text())
    print(f"| table | strategy | {EVALUATIONS} evaluations: regret in % |\n|---|---|---|", flush=True)
    for name, family in TABLES:
        if name not in args.tables:
            continue
        sign = -1 if family == "hpobench_mlp" else 1
        with gzip.open(data / f"{name}.csv.gz", "rt") as file:
            rows = csv.reader(file)
            next(rows)
            losses = {row[0]: sign * statistics.fmean(map(float, row[1:])) for row in rows}
        best, unit = min(losses.values()), statistics.median(losses.values()) - min(losses.values())
        order, space = spaces[family]["order"], spaces[family]["space"]
        for label in args.peers:
            search = searches[label]
            regrets = []
            for seed in range(seeds):
                found = search(order, space, losses, seed)
                regrets.append([100 * (min(found[:count]) - best) / unit for count in EVALUATIONS])
            cells = []
            for column in zip(*regrets):
                cells.append(f"{statistics.fmean(column):.2f}±{statistics.stdev(column) / seeds**0.5:.2f}")
            print(f"| {name} | {label} | {'  '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
