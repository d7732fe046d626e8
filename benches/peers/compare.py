#!/usr/bin/env python3
"""Operators of automl beside scikit-learn's and LightGBM's: scores on real data sets, processor time on a large table.

    benches/peers/run DATA/tabular [--only NAME,NAME] [--seeds 5] [--speed-only | --quality-only]

Quality: 8 of the data sets (of each at most ROWS rows, 70 % of them to train), the same split for both, paired over seeds; a model is scored by accuracy (or R2), a
transformation by the model behind it (the same class of model on both sides). A difference counts as noise where it is less than two standard errors over all
pairs. Speed: 20,000 x 30 made by scikit-learn, one thread on both sides, the least of several runs each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import sklearn.cluster  # noqa: E402
import sklearn.discriminant_analysis  # noqa: E402
import sklearn.dummy  # noqa: E402
import sklearn.ensemble  # noqa: E402
import sklearn.experimental.enable_iterative_imputer  # noqa: E402, F401
import sklearn.feature_selection  # noqa: E402
import sklearn.gaussian_process  # noqa: E402
import sklearn.impute  # noqa: E402
import sklearn.kernel_approximation  # noqa: E402
import sklearn.kernel_ridge  # noqa: E402
import sklearn.linear_model  # noqa: E402
import sklearn.naive_bayes  # noqa: E402
import sklearn.neighbors  # noqa: E402
import sklearn.neural_network  # noqa: E402
import sklearn.pipeline  # noqa: E402
import sklearn.preprocessing  # noqa: E402
import sklearn.svm  # noqa: E402
import sklearn.tree  # noqa: E402
from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: E402
from sklearn.datasets import make_classification, make_regression  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

SETS = {
    "classification": ["breast_cancer_wisconsin", "vowel", "credit_g", "waveform_40"],
    "regression": ["concrete", "kin8nm", "201_pol", "auto_mpg_raw"],
}
ROWS = 3000
C, R = "classification", "regression"


class Peer:
    """One operator, its parameters, and what it is compared with."""

    def __init__(self, op, theirs, params=None, tasks=(C, R), then=False, form="dense", rows=ROWS, big=20000, share=1.0):
        self.op, self.theirs, self.params, self.tasks = op, theirs, params or {}, tasks
        self.then, self.form, self.rows, self.big, self.share = then, form, rows, big, share


def by_task(classifier, regressor):
    return lambda task, seed: classifier(seed) if task == C else regressor(seed)


def peers():
    lm, en, sv, nb = sklearn.linear_model, sklearn.ensemble, sklearn.svm, sklearn.naive_bayes
    pp, fs, im, ka = sklearn.preprocessing, sklearn.feature_selection, sklearn.impute, sklearn.kernel_approximation
    nei, nn, gp = sklearn.neighbors, sklearn.neural_network, sklearn.gaussian_process
    score_f = lambda task: fs.f_classif if task == C else fs.f_regression  # noqa: E731
    lgbm = by_task(lambda s: LGBMClassifier(verbose=-1, n_jobs=1, random_state=s), lambda s: LGBMRegressor(verbose=-1, n_jobs=1, random_state=s))
    yield Peer("gradient_boosting", lgbm)
    yield Peer("random_forest", by_task(lambda s: en.RandomForestClassifier(max_features=0.3, random_state=s), lambda s: en.RandomForestRegressor(max_features=0.3, random_state=s)), share=0.5)
    yield Peer("extra_trees", by_task(lambda s: en.ExtraTreesClassifier(max_features=0.5, random_state=s), lambda s: en.ExtraTreesRegressor(max_features=0.5, random_state=s)), share=0.5)
    yield Peer("decision_tree", by_task(lambda s: sklearn.tree.DecisionTreeClassifier(random_state=s), lambda s: sklearn.tree.DecisionTreeRegressor(random_state=s)))
    yield Peer("adaboost", by_task(lambda s: en.AdaBoostClassifier(random_state=s), lambda s: en.AdaBoostRegressor(random_state=s)))
    yield Peer("bagging", by_task(lambda s: en.BaggingClassifier(random_state=s), lambda s: en.BaggingRegressor(random_state=s)))
    yield Peer("logistic", lambda t, s: lm.LogisticRegression(max_iter=1000), tasks=(C,))
    yield Peer("ridge", by_task(lambda s: lm.RidgeClassifier(), lambda s: lm.Ridge()))
    yield Peer("lasso", lambda t, s: lm.Lasso(alpha=0.1), {"alpha": 0.1}, tasks=(R,))
    yield Peer("elastic_net", lambda t, s: lm.ElasticNet(alpha=0.1), {"alpha": 0.1}, tasks=(R,))
    yield Peer("sgd", by_task(lambda s: lm.SGDClassifier(loss="log_loss", random_state=s), lambda s: lm.SGDRegressor(random_state=s)))
    yield Peer("linear_svm", by_task(lambda s: sv.LinearSVC(random_state=s), lambda s: sv.LinearSVR(random_state=s, loss="squared_epsilon_insensitive", dual=False)))
    yield Peer("rbf_svm", by_task(lambda s: sv.SVC(), lambda s: sv.SVR()))
    yield Peer("lda", lambda t, s: sklearn.discriminant_analysis.LinearDiscriminantAnalysis(), tasks=(C,))
    yield Peer("qda", lambda t, s: sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.01), tasks=(C,))
    yield Peer("gaussian_nb", lambda t, s: nb.GaussianNB(), tasks=(C,))
    yield Peer("bernoulli_nb", lambda t, s: nb.BernoulliNB(), tasks=(C,))
    yield Peer("multinomial_nb", lambda t, s: nb.MultinomialNB(), tasks=(C,), form="positive")
    yield Peer("knn", by_task(lambda s: nei.KNeighborsClassifier(), lambda s: nei.KNeighborsRegressor()), share=0.5)
    yield Peer("nearest_centroid", lambda t, s: nei.NearestCentroid(), tasks=(C,))
    yield Peer("gaussian_process", by_task(lambda s: gp.GaussianProcessClassifier(), lambda s: gp.GaussianProcessRegressor(gp.kernels.RBF() + gp.kernels.WhiteKernel(), normalize_y=True)), rows=500, big=700)
    yield Peer("kernel_ridge", lambda t, s: sklearn.kernel_ridge.KernelRidge(kernel="rbf", alpha=0.1), {"gamma": 1.0}, tasks=(R,), big=4000)
    yield Peer("huber", lambda t, s: lm.HuberRegressor(max_iter=1000), tasks=(R,))
    yield Peer("bayesian_ridge", lambda t, s: lm.BayesianRidge(), tasks=(R,))
    yield Peer("poisson", lambda t, s: lm.PoissonRegressor(alpha=1e-3), tasks=(R,), form="positive_target")
    yield Peer("prior", by_task(lambda s: sklearn.dummy.DummyClassifier(), lambda s: sklearn.dummy.DummyRegressor()))
    yield Peer("mlp", by_task(lambda s: nn.MLPClassifier(early_stopping=True, random_state=s), lambda s: nn.MLPRegressor(early_stopping=True, random_state=s)))
    # Transformations, with logistic regression or ridge behind them.
    yield Peer("standard_scale", lambda t, s: pp.StandardScaler(), then=True, form="raw_numbers")
    yield Peer("min_max_scale", lambda t, s: pp.MinMaxScaler(), then=True, form="raw_numbers")
    yield Peer("robust_scale", lambda t, s: pp.RobustScaler(), then=True, form="raw_numbers")
    yield Peer("max_abs_scale", lambda t, s: pp.MaxAbsScaler(), then=True, form="raw_numbers")
    yield Peer("quantile_transform", lambda t, s: pp.QuantileTransformer(n_quantiles=500, random_state=s), {"output": "uniform", "quantiles": 500}, then=True, form="raw_numbers")
    yield Peer("power_transform", lambda t, s: pp.PowerTransformer(), then=True, form="raw_numbers")
    yield Peer("normalize", lambda t, s: pp.Normalizer(), then=True)
    yield Peer("bin", lambda t, s: pp.KBinsDiscretizer(n_bins=8, encode="ordinal", subsample=None), {}, then=True)
    yield Peer("spline", lambda t, s: pp.SplineTransformer(n_knots=5), then=True)
    yield Peer("polynomial", lambda t, s: pp.PolynomialFeatures(2, include_bias=False), then=True)
    yield Peer("pca", lambda t, s: sklearn.decomposition.PCA(n_components=None), {"components": 1.0}, then=True)
    yield Peer("fast_ica", lambda t, s: sklearn.decomposition.FastICA(random_state=s, max_iter=500), then=True)
    yield Peer("nystroem", lambda t, s: ka.Nystroem(n_components=100, gamma=0.02, random_state=s), then=True)
    yield Peer("random_kitchen_sinks", lambda t, s: ka.RBFSampler(n_components=100, gamma=0.02, random_state=s), then=True)
    yield Peer("feature_agglomeration", lambda t, s: sklearn.cluster.FeatureAgglomeration(n_clusters=5), then=True)
    yield Peer("kmeans_distance", lambda t, s: sklearn.cluster.KMeans(n_clusters=8, n_init=1, random_state=s), then=True)
    yield Peer("variance_threshold", lambda t, s: fs.VarianceThreshold(), then=True)
    yield Peer("select_k_best", lambda t, s: fs.SelectPercentile(score_f(t), percentile=50), then=True)
    yield Peer("select_by_tree", lambda t, s: fs.SelectFromModel(en.ExtraTreesClassifier(n_estimators=50, random_state=s) if t == C else en.ExtraTreesRegressor(n_estimators=50, random_state=s)), then=True)
    yield Peer("recursive_elimination", lambda t, s: fs.RFE(lm.LogisticRegression() if t == C else lm.Ridge(), step=0.2), then=True)
    yield Peer("impute", lambda t, s: im.SimpleImputer(strategy="median", add_indicator=True), then=True, form="missing")
    yield Peer("iterative_impute", lambda t, s: im.IterativeImputer(random_state=s), {"indicator": False, "rounds": 10, "predictors": 50}, then=True, form="missing")
    yield Peer("knn_impute", lambda t, s: im.KNNImputer(), {"indicator": False}, then=True, form="missing", big=4000)


def encode(table, target):
    """Numbers alone: categories one-hot, missing values by the median."""
    y = table[target]
    x = pd.get_dummies(table.drop(columns=[target]), dummy_na=False)
    x = x.fillna(x.median(numeric_only=True)).astype(float)
    return x.to_numpy(), y.to_numpy()


def split(x, y, task, rows, seed, form):
    rng = np.random.RandomState(1000 + seed)
    if len(x) > rows:
        pick = rng.permutation(len(x))[:rows]
        x, y = x[pick], y[pick]
    stratify = y if task == C and np.unique(y, return_counts=True)[1].min() >= 2 else None
    x, xt, y, yt = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=stratify)
    return form_of(form, x, xt, y, yt, rng)


def form_of(form, x, xt, y, yt, rng):
    if form != "raw_numbers":
        scaler = sklearn.preprocessing.MinMaxScaler(clip=True) if form == "positive" else sklearn.preprocessing.StandardScaler()
        x, xt = scaler.fit_transform(x), scaler.transform(xt)
    if form == "missing":
        x, xt = x.copy(), xt.copy()
        x[rng.rand(*x.shape) < 0.15] = np.nan
        xt[rng.rand(*xt.shape) < 0.15] = np.nan
    if form == "positive_target":
        low = min(y.min(), yt.min())
        y, yt = y - low, yt - low
    return x.astype(np.float32), xt.astype(np.float32), y, yt


class Ours:
    def __init__(self, program, folder):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder, self.count = Path(folder), 0

    def table(self, x, xt, y, yt, task):
        paths = []
        for features, target in ((x, y), (xt, yt)):
            path = self.folder / f"{self.count}.csv"
            self.count += 1
            table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
            table["y"] = [f"c{value}" for value in target] if task == C else target
            table.to_csv(path, index=False, float_format="%.9g")
            paths.append(str(path))
        return paths

    def ask(self, peer, paths, task, seed):
        then = ("logistic" if task == C else "ridge") if peer.then else None
        request = {"train": paths[0], "test": paths[1], "task": task, "op": peer.op, "params": peer.params, "then": then, "seed": seed}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def timed(work):
    best, total, result = float("inf"), 0.0, None
    while total < 0.05:
        start = time.process_time()
        result = work()
        took = time.process_time() - start
        best, total = min(best, took), total + max(took, 1e-4)
    return best, result


def theirs(peer, x, xt, y, yt, task, seed):
    fit, model = timed(lambda: peer.theirs(task, seed).fit(x, y))
    if peer.then:
        apply, out = timed(lambda: model.transform(xt))
        last = sklearn.linear_model.LogisticRegression(max_iter=1000) if task == C else sklearn.linear_model.Ridge()
        if task == C:
            # Our logistic regression scales what it reads, our ridge does not.
            last = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), last)
        last.fit(model.transform(x), y)
        predicted = last.predict(out)
        proba = last.predict_proba(out) if task == C else None
    else:
        apply, predicted = timed(lambda: model.predict(xt))
        proba = model.predict_proba(xt) if task == C and hasattr(model, "predict_proba") else None
    if task == R:
        return fit, apply, {"r2": sklearn.metrics.r2_score(yt, predicted)}
    scores = {"accuracy": float(np.mean(predicted == yt))}
    if proba is not None:
        scores["log_loss"] = sklearn.metrics.log_loss(yt, np.clip(proba, 1e-15, 1), labels=np.unique(y))
    return fit, apply, scores


def quality(ours, data, chosen, seeds):
    print(f"\n| operator | peer's score | ours - peer's | standard error | pairs | fit, ours / peer's | verdict |\n|---|---|---|---|---|---|---|", flush=True)
    tables = {}
    tasks = pd.read_csv(data / "tasks.csv").set_index("name")
    for task, names in SETS.items():
        for name in names:
            both = pd.concat([pd.read_csv(data / name / f"{part}.csv") for part in ("train", "test")], ignore_index=True)
            tables[name] = (task, *encode(both, tasks.loc[name, "target"]))
    for peer in chosen:
        rows, losses, ratios, problem = [], [], [], None
        for name, (task, x, y) in tables.items():
            if task not in peer.tasks:
                continue
            for seed in range(seeds):
                parts = split(x, y, task, peer.rows, seed, peer.form)
                paths = ours.table(*parts, task)
                answer = ours.ask(peer, paths, task, seed)
                if "error" in answer:
                    problem = f"{name}: {answer['error']}"
                    continue
                fit, _, scores = theirs(peer, *parts, task, seed)
                key = "accuracy" if task == C else "r2"
                # R2 has no floor: what is below 0 is as bad as a constant.
                mine, other = max(answer["scores"][key], 0), max(scores[key], 0)
                rows.append((name, other, mine - other))
                ratios.append(answer["fit"] / fit)
                if task == C and "log_loss" in scores and "log_loss" in answer["scores"]:
                    losses.append(answer["scores"]["log_loss"] - scores["log_loss"])
        if not rows:
            print(f"| {peer.op} | - | - | - | 0 | - | {problem} |", flush=True)
            continue
        # Seeds of one set share their rows: the sets are the independent ones.
        difference = np.array([row[2] for row in rows])
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        mean = difference.mean()
        verdict = "better" if mean > 2 * error + 1e-4 else "equal" if mean > -2 * error - 1e-4 else "WORSE"
        worst = min(tables, key=lambda n: np.mean([r[2] for r in rows if r[0] == n] or [0]))
        note = f" (least on {worst}: {np.mean([r[2] for r in rows if r[0] == worst]):+.3f})" if verdict == "WORSE" else ""
        loss = f", log loss {np.mean(losses):+.3f}" if losses else ""
        note += f"; {problem}" if problem else ""
        score = np.mean([row[1] for row in rows])
        ratio = np.exp(np.mean(np.log(ratios)))
        print(f"| {peer.op} | {score:.4f} | {mean:+.4f}{loss} | {error:.4f} | {len(rows)} | {ratio:.2f} | {verdict}{note} |", flush=True)


def speed(ours, chosen):
    print("\n| operator | fit, ours s | peer's s | ratio | apply, ours s | peer's s | ratio | allowed |\n|---|---|---|---|---|---|---|---|", flush=True)
    for peer in chosen:
        for task in peer.tasks:
            rng = np.random.RandomState(0)
            if task == C:
                x, y = make_classification(int(peer.big / 0.75), 30, n_informative=12, n_redundant=6, random_state=3, flip_y=0.05)
            else:
                x, y = make_regression(int(peer.big / 0.75), 30, n_informative=15, noise=20.0, random_state=3)
            parts = train_test_split(x, y, test_size=0.25, random_state=1)
            parts = form_of(peer.form, *parts, rng)
            paths = ours.table(*parts, task)
            mine = ours.ask(peer, paths, task, 1)
            if "error" in mine:
                print(f"| {peer.op}, {task} | {mine['error']} | | | | | | |", flush=True)
                continue
            fit, apply, _ = theirs(peer, *parts, task, 1)
            # What neighbours cost, they cost when they are asked.
            ratio = mine["apply"] / apply if peer.op == "knn" else mine["fit"] / fit
            mark = "" if ratio <= peer.share else " **over**"
            print(
                f"| {peer.op}, {task} | {mine['fit']:.4f} | {fit:.4f} | {mine['fit'] / fit:.2f} | {mine['apply']:.4f} | {apply:.4f} | {mine['apply'] / apply:.2f} | {peer.share}{mark} |",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with tasks.csv and the sets")
    parser.add_argument("--program", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--speed-only", action="store_true")
    parser.add_argument("--quality-only", action="store_true")
    args = parser.parse_args()
    only = {name for name in args.only.split(",") if name}
    chosen = [peer for peer in peers() if not only or peer.op in only]
    if only - {peer.op for peer in chosen}:
        sys.exit(f"no such peer: {', '.join(sorted(only - {peer.op for peer in chosen}))}")
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(args.program, folder)
        if not args.quality_only:
            speed(ours, chosen)
        if not args.speed_only:
            quality(ours, args.data, chosen, args.seeds)


if __name__ == "__main__":
    main()
