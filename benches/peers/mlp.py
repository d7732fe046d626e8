#!/usr/bin/env python3
"""Networks that `mlp_tabular` finds beside scikit-learn's MLPClassifier and MLPRegressor at their defaults, on train/test pairs.

    python benches/peers/mlp.py DATA/tabular [--seeds 2] [--time 30] [--program target/release/automl] [--sets NAME,NAME] [--inner]

Ours: `automl fit` with examples/mlp-tabular.toml and the time as its limit, the best network alone (`--ensemble 1`) and the best joined. Theirs: standardised
numbers (missing ones are the median) and one-hot categories. Balanced accuracy (that is what ours optimises), accuracy and, for numbers, R2 on test.csv. With
--inner, a quarter of train.csv stands in for test.csv, which is not read: for whoever changes the space.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
from baselines import dense
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

warnings.filterwarnings("ignore")

DEV = (
    "GAMETES_Epistasis_2_Way_20atts_0_4H_EDM_1_1 Hill_Valley_without_noise concrete credit_g jobs_hr kin8nm monk1 pima splice "
    "tic_tac_toe vowel wine_quality_red"
).split()
ROOT = Path(__file__).resolve().parents[2]


def scores(classes, truth, said):
    if not classes:
        return {"r2": r2_score(truth, said)}
    truth, said = truth.astype(str), said.astype(str)
    return {"balanced": balanced_accuracy_score(truth, said), "accuracy": accuracy_score(truth, said)}


def theirs(classes, target, train, test, seed):
    varied = [column for column in train if train[column].nunique() > 1]
    train, test = train[varied].copy(), test[varied].copy()
    y = train.pop(target)
    truth = test.pop(target)
    for column in train.select_dtypes(exclude="number"):
        train[column], test[column] = train[column].astype(str), test[column].astype(str)
    model = MLPClassifier(random_state=seed) if classes else MLPRegressor(random_state=seed)
    said = make_pipeline(dense(True), model).fit(train, y.astype(str) if classes else y).predict(test)
    return scores(classes, truth, said)


def ours(args, classes, target, files, seed, ensemble, folder):
    model, said = folder / "model.automl", folder / "said.csv"
    task = "classification" if classes else "regression"
    fit = [args.program, "-q", "fit", files[0], "--target", target, "--config", ROOT / "examples/mlp-tabular.toml", "--time-limit", f"{args.time}s",
           "--seed", seed, "--workers", 1, "--ensemble", ensemble, "--out", model, "--run-dir", folder / f"run-{seed}-{ensemble}",
           "--set", f"space.task={task}", *args.set]
    subprocess.run([*args.prefix.split(), *(str(part) for part in fit)], check=True, capture_output=True)
    with open(said, "w") as out:
        subprocess.run([args.program, "-q", "predict", str(model), str(files[1])], check=True, stdout=out)
    kind = str if classes else float
    truth, said = pd.read_csv(files[1], dtype={target: kind})[target], pd.read_csv(said, dtype={"prediction": kind})["prediction"]
    return scores(classes, truth, said)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--time", type=int, default=30)
    parser.add_argument("--program", default=str(ROOT / "target/release/automl"))
    parser.add_argument("--sets", default=",".join(DEV))
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--ensembles", default="1,8")
    parser.add_argument("--prefix", default="", help="what the fits are run by, such as `taskset -c 1`")
    parser.add_argument("--set", action="append", default=[], help="handed on to `automl fit`")
    args = parser.parse_args()
    args.set = [part for setting in args.set for part in ("--set", setting)]
    tasks = pd.read_csv(args.data / "tasks.csv").set_index("name")
    ensembles = [int(n) for n in args.ensembles.split(",")]
    wins = {n: 0 for n in ensembles}
    print("| set | sklearn | " + " | ".join("best network" if n == 1 else f"{n} networks joined" for n in ensembles) + " |")
    print("|---" * (2 + len(ensembles)) + "|", flush=True)
    for name in args.sets.split(","):
        classes, target = tasks.loc[name, "task"] == "classification", tasks.loc[name, "target"]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            files = [args.data / name / "train.csv", args.data / name / "test.csv"]
            if args.inner:
                table = pd.read_csv(files[0], dtype=str, keep_default_na=False)
                parts = train_test_split(table, test_size=0.25, random_state=7, stratify=table[target] if classes else None)
                files = [folder / "train.csv", folder / "test.csv"]
                for part, file in zip(parts, files):
                    part.to_csv(file, index=False)
            train, test = (pd.read_csv(file) for file in files)
            found = {"sklearn": [theirs(classes, target, train, test, seed) for seed in range(1, args.seeds + 1)]}
            for n in ensembles:
                found[n] = [ours(args, classes, target, files, seed, n, folder) for seed in range(1, args.seeds + 1)]
        first = "balanced" if classes else "r2"
        mean = {who: statistics.mean(score[first] for score in scores) for who, scores in found.items()}
        for n in ensembles:
            wins[n] += mean[n] > mean["sklearn"]
        cells = []
        for who, all_scores in found.items():
            by = {kind: [score[kind] for score in all_scores] for kind in all_scores[0]}
            spread = (max(by[first]) - min(by[first])) / 2
            more = f" ({statistics.mean(by['accuracy']):.4f})" if classes else ""
            cells.append(f"{mean[who]:.4f} ± {spread:.4f}{more}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("| ahead of scikit-learn | | " + " | ".join(f"{wins[n]} of {len(args.sets.split(','))}" for n in ensembles) + " |")


if __name__ == "__main__":
    begin = time.time()
    main()
    print(f"{time.time() - begin:.0f} s in all")
