#!/usr/bin/env python3
"""Scores of scikit-learn's defaults on train/test pairs: a forest of 500 trees, histogram gradient boosting, logistic regression or ridge.

    python benches/peers/baselines.py DATA/tabular [NAME …] > baselines.csv

Balanced accuracy for classes, R2 for values. Categories are one-hot for the forest and the linear model and native for boosting; missing numbers are the median.
"""

import sys
import warnings
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")


def dense(scale):
    numbers = [SimpleImputer(strategy="median")] + ([StandardScaler()] if scale else [])
    texts = make_column_selector(dtype_exclude="number")
    encoder = OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False)
    return make_column_transformer((make_pipeline(*numbers), make_column_selector(dtype_include="number")), (encoder, texts))


def main():
    data = Path(sys.argv[1])
    print("set,task,rf500,hgb,linear,best", flush=True)
    for _, row in pd.read_csv(data / "tasks.csv").iterrows():
        if len(sys.argv) > 2 and row["name"] not in sys.argv[2:]:
            continue
        train, test = (pd.read_csv(data / row["name"] / f"{part}.csv") for part in ("train", "test"))
        # What holds one value says nothing, and some of the models refuse it.
        varied = [column for column in train if train[column].nunique() > 1]
        train, test = train[varied], test[varied]
        classes = row["task"] == "classification"
        y, yt = train.pop(row["target"]), test.pop(row["target"])
        if classes:
            y, yt = y.astype(str), yt.astype(str)
        for column in train.select_dtypes(exclude="number"):
            train[column], test[column] = train[column].astype(str), test[column].astype(str)
        forest = RandomForestClassifier(500, random_state=1, n_jobs=1) if classes else RandomForestRegressor(500, random_state=1, n_jobs=1)
        boosting = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=1, categorical_features="from_dtype")
        linear = LogisticRegression(max_iter=1000) if classes else Ridge()
        score = balanced_accuracy_score if classes else r2_score
        scores = []
        for model, native in ((make_pipeline(dense(False), forest), False), (boosting, True), (make_pipeline(dense(True), linear), False)):
            x, xt = train, test
            if native:
                x, xt = train.copy(), test.copy()
                for column in train.select_dtypes(exclude="number"):
                    kinds = pd.CategoricalDtype(train[column].value_counts().index[:254])
                    x[column], xt[column] = train[column].astype(kinds), test[column].astype(kinds)
            scores.append(score(yt, model.fit(x, y).predict(xt)))
        print(f"{row['name']},{row['task']},{','.join(f'{s:.4f}' for s in scores)},{max(scores):.4f}", flush=True)


if __name__ == "__main__":
    main()
