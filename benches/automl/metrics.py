"""Scores of predictions: balanced accuracy for classes, R2 for values."""

import math
from collections import Counter
from collections.abc import Sequence

CLASSIFICATION, REGRESSION = "classification", "regression"
METRICS = {CLASSIFICATION: "balanced_accuracy", REGRESSION: "r2"}


class BadPredictions(ValueError):
    """Predictions that cannot be scored."""


def balanced_accuracy(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """The mean over the classes in `truth` of the share of their rows that were predicted as such."""
    _check_lengths(truth, predictions)
    rows = Counter(truth)
    right = Counter(label for label, predicted in zip(truth, predictions, strict=True) if label == predicted)
    return math.fsum(right[label] / count for label, count in rows.items()) / len(rows)


def r2(truth: Sequence[float], predictions: Sequence[float]) -> float:
    """1 - squared error / squared distance to the mean; where all values are equal, 1 if they are all met and 0 otherwise."""
    _check_lengths(truth, predictions)
    if not all(map(math.isfinite, predictions)):
        raise BadPredictions("a prediction is not finite")
    mean = math.fsum(truth) / len(truth)
    error = math.fsum((value - predicted) ** 2 for value, predicted in zip(truth, predictions, strict=True))
    total = math.fsum((value - mean) ** 2 for value in truth)
    if total == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / total


def score(task: str, truth: Sequence[str], predictions: Sequence[str]) -> float:
    """The score of a task's predictions, both as the texts of a CSV file."""
    if task == CLASSIFICATION:
        return balanced_accuracy(truth, match_labels(truth, predictions))
    try:
        values = [float(text) for text in predictions]
    except ValueError as error:
        raise BadPredictions(f"a prediction is no number: {error}") from error
    return r2([float(text) for text in truth], values)


def constant_score(task: str, train: Sequence[str], truth: Sequence[str]) -> float:
    """The score of the best constant that the training rows suggest: what a system is worth that gives no predictions."""
    if task == CLASSIFICATION:
        commonest = Counter(train).most_common(1)[0][0]
        return balanced_accuracy(truth, [commonest] * len(truth))
    values = [float(text) for text in train]
    return r2([float(text) for text in truth], [math.fsum(values) / len(values)] * len(truth))


def match_labels(truth: Sequence[str], predictions: Sequence[str]) -> list[str]:
    """Predictions with the spelling of the truth, where a system wrote a label that is a number otherwise: `1.0` for `1`."""
    known = set(truth)
    by_value = {value: label for label in known if (value := _number(label)) is not None}

    def matched(label: str) -> str:
        value = None if label in known else _number(label)
        return label if value is None else by_value.get(value, label)

    return [matched(label) for label in predictions]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _check_lengths(truth: Sequence[object], predictions: Sequence[object]) -> None:
    if len(truth) != len(predictions):
        raise BadPredictions(f"{len(predictions)} predictions for {len(truth)} rows")
    if not truth:
        raise BadPredictions("there are no rows")
