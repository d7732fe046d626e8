"""One of scikit-learn's defaults on a train/test pair: `scikit_learn.py forest|boosting|linear TRAIN TEST TARGET TASK SEED PREDICTIONS`."""

import sys

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def estimator(name: str, task: str, seed: int) -> BaseEstimator:
    """The model of a name for a task."""
    classes = task == "classification"
    if name == "forest":
        return (RandomForestClassifier if classes else RandomForestRegressor)(n_estimators=500, random_state=seed)
    if name == "boosting":
        return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed)
    if name == "linear":
        return LogisticRegression(max_iter=2000) if classes else Ridge()
    raise SystemExit(f"there is no model {name}; there are forest, boosting, linear")


def columns() -> BaseEstimator:
    """Numbers with the median for what is missing, standardised; all else as columns of 0 and 1."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False)
    selector = make_column_selector
    return make_column_transformer((numbers, selector(dtype_include="number")), (texts, selector(dtype_exclude="number")))


def main() -> None:
    name, train_path, test_path, target, task, seed, out = sys.argv[1:]
    train = pd.read_csv(train_path, dtype={target: str} if task == "classification" else None)
    model = make_pipeline(columns(), estimator(name, task, int(seed)))
    model.fit(train.drop(columns=target), train[target])
    pd.DataFrame({"prediction": model.predict(pd.read_csv(test_path))}).to_csv(out, index=False)


if __name__ == "__main__":
    main()
