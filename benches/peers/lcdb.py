#!/usr/bin/env python3
"""Is any prefix of the portfolio good? The order of its model families against orders learnt from LCDB's learning curves.

    python benches/peers/lcdb.py DATA/hpo/lcdb_accuracy_curves.csv.gz [--portfolio automl-ops/src/portfolio.json]

LCDB (Mohr, Viering, Loog and van Rijn, ECML PKDD 2022): test accuracy of 20 scikit-learn classifiers at their defaults, without
scaling, on 248 OpenML sets, by the number of training rows. Here a learner's accuracy on a set is that at the last number of rows
that all learners of the set have, up to `--rows`. The regret of a prefix of an order on a set is the distance of its best learner
from the best of all, as a share of the distance between the best and the median learner, at most 1. Orders are learnt on half of
the sets and judged on the other half, for `--splits` random halves; an order that is not learnt is judged on the same halves.
Printed are mean regrets by the length of the prefix, mean regrets by the seconds that the learners of the prefix took to be
fitted one after the other, and the greedy orders over all sets. Needs Python alone.
"""

import argparse
import csv
import gzip
import json
import random
import statistics
from pathlib import Path

# What stands for a family of ours: the estimator at the end of a pipeline.
FAMILIES = {
    "logistic": "LogisticRegression",
    "extra_trees": "ExtraTreesClassifier",
    "random_forest": "RandomForestClassifier",
    "decision_tree": "DecisionTreeClassifier",
    "gradient_boosting": "GradientBoostingClassifier",
    "lda": "LinearDiscriminantAnalysis",
    "qda": "QuadraticDiscriminantAnalysis",
    "mlp": "MLPClassifier",
    "rbf_svm": "SVC_rbf",
    "linear_svm": "SVC_linear",
    "knn": "KNeighborsClassifier",
}
LENGTH = 8
SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
# A prefix is judged where at least so many learners have an accuracy.
LEARNERS = 12
# As in `benches/examples/portfolio.rs`: seconds that count as none.
CHEAP = 0.1


def read(path, rows):
    """By set, the accuracy and the seconds of each learner."""
    curves = {}
    with gzip.open(path, "rt") as file:
        for line in csv.DictReader(file):
            size = int(line["size_train"])
            if size <= rows and line["test"]:
                points = curves.setdefault(line["openmlid"], {}).setdefault(line["learner"].split(".")[-1], {})
                points[size] = (float(line["test"]), float(line["traintime"]))
    sets = []
    for learners in curves.values():
        if len(learners) < LEARNERS:
            continue
        common = set.intersection(*(set(points) for points in learners.values()))
        if common:
            sets.append({name: points[max(common)] for name, points in learners.items()})
    return sets


def regrets(results):
    """By learner, its regret on a set."""
    scores = sorted((score for score, _ in results.values()), reverse=True)
    best, median = scores[0], scores[len(scores) // 2]
    if best <= median:
        return {}
    return {name: min(1.0, (best - score) / (best - median)) for name, (score, _) in results.items()}


def greedy(sets, names, thrifty):
    """Learners in the order in which each lowers the mean regret most; `thrifty`: for the square root of its time."""
    by_set = [regrets(results) for results in sets]
    seconds = {name: statistics.fmean(results[name][1] for results in sets if name in results) for name in names}
    order, reached = [], [1.0] * len(sets)
    while len(order) < LENGTH:
        def gain(name):
            total = sum(max(0.0, at - of.get(name, 1.0)) for at, of in zip(reached, by_set))
            return total / (CHEAP + seconds[name]) ** 0.5 if thrifty else total

        best = max((name for name in names if name not in order), key=gain)
        order.append(best)
        reached = [min(at, of.get(best, 1.0)) for at, of in zip(reached, by_set)]
    return order


def by_length(order, sets):
    """Mean regret by the length of the prefix."""
    by_set = [of for of in map(regrets, sets) if of]
    sizes = range(1, LENGTH + 1)
    return [statistics.fmean(min([of.get(name, 1.0) for name in order[:size]] + [1.0]) for of in by_set) for size in sizes]


def by_seconds(order, sets):
    """Mean regret by the time of a prefix."""

    def regret(results, of, seconds):
        least = 1.0
        for name in order:
            score_and_time = results.get(name)
            if score_and_time is None:
                continue
            seconds -= score_and_time[1]
            if seconds < 0.0:
                break
            least = min(least, of[name])
        return least

    by_set = [(results, of) for results in sets if (of := regrets(results))]
    return [statistics.fmean(regret(results, of, seconds) for results, of in by_set) for seconds in SECONDS]


def of_portfolio(path):
    """The families at the ends of the classifiers of the portfolio, each once."""
    order = []
    for genotype in json.loads(Path(path).read_text())["classification"]:
        for node in reversed(genotype["nodes"]):
            family = FAMILIES.get(node["op"])
            if family is not None:
                if family not in order:
                    order.append(family)
                break
    return order


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path)
    parser.add_argument("--portfolio", type=Path, default=Path(__file__).parents[2] / "automl-ops/src/portfolio.json")
    parser.add_argument("--rows", type=int, default=2_000, help="the last number of training rows that counts")
    parser.add_argument("--splits", type=int, default=50)
    args = parser.parse_args()
    sets = read(args.curves, args.rows)
    everyone = sorted({name for results in sets for name in results})
    ours = of_portfolio(args.portfolio)
    kin = sorted(FAMILIES.values())
    learnt = {
        "greedy, 20 learners": (everyone, False),
        "greedy, our families": (kin, False),
        "greedy, our families, per root of time": (kin, True),
        "greedy, families of the portfolio": (ours, False),
    }
    lengths, times = {}, {}
    for split in range(args.splits):
        rng = random.Random(split)
        shuffled = rng.sample(sets, len(sets))
        learn, judge = shuffled[: len(sets) // 2], shuffled[len(sets) // 2 :]
        orders = {"portfolio": ours}
        orders |= {name: greedy(learn, names, thrifty) for name, (names, thrifty) in learnt.items()}
        orders |= {"random order, families of the portfolio": rng.sample(ours, len(ours))}
        for name, order in orders.items():
            lengths.setdefault(name, []).append(by_length(order, judge))
            times.setdefault(name, []).append(by_seconds(order, judge))
    print(f"{len(sets)} sets, up to {args.rows} rows, {args.splits} halves; regret in %")
    for heads, found in [([f"{size}" for size in range(1, LENGTH + 1)], lengths), ([f"{time} s" for time in SECONDS], times)]:
        print(f"\n| order | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
        for name, curves in found.items():
            print(f"| {name} | {' | '.join(f'{100 * statistics.fmean(column):.1f}' for column in zip(*curves))} |")
    print("\nportfolio:", ", ".join(ours))
    for name, (names, thrifty) in learnt.items():
        print(f"{name}, all sets:", ", ".join(greedy(sets, names, thrifty)))


if __name__ == "__main__":
    main()
