"""Ranks of systems over data sets and what may be said about them, after Demšar (2006).

J. Demšar: Statistical Comparisons of Classifiers over Multiple Data Sets. Journal of Machine Learning Research 7, 2006, pages 1-30.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Critical values of the two-tailed Nemenyi test at 0.05 by the number of systems: the .95 quantile of the studentized range with infinitely
# many degrees of freedom, divided by the square root of 2. Up to 10 they are table 5a of Demšar (2006), within a unit of the last digit;
# all are from `scipy.stats.studentized_range.ppf(0.95, k, inf) / sqrt(2)`.
NEMENYI_Q_05 = {
    2: 1.960, 3: 2.344, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.948, 8: 3.031, 9: 3.102, 10: 3.164, 11: 3.219,
    12: 3.268, 13: 3.313, 14: 3.354, 15: 3.391, 16: 3.426, 17: 3.458, 18: 3.489, 19: 3.517, 20: 3.544,
}  # fmt: skip


@dataclass(frozen=True)
class Friedman:
    """The Friedman test that all systems are equal: the statistic, its F form after Iman and Davenport, and the p value of the latter."""

    chi_squared: float
    f: float
    p: float


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its interval; no bounds where there are fewer than two values."""

    mean: float
    low: float
    high: float


def ranks(scores: Sequence[float]) -> list[float]:
    """The rank of each score, 1 for the highest; equal scores share the mean of their ranks."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    result = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        for i in order[start:end]:
            result[i] = (start + 1 + end) / 2
        start = end
    return result


def mean_ranks(table: Sequence[Sequence[float]]) -> list[float]:
    """The mean over data sets (rows) of each system's (column's) rank."""
    by_set = [ranks(row) for row in table]
    return [math.fsum(column) / len(table) for column in zip(*by_set)]


def friedman(averages: Sequence[float], sets: int) -> Friedman:
    """The Friedman test from the mean ranks of systems over a number of data sets; equations on page 11 of Demšar (2006)."""
    k = len(averages)
    spread = math.fsum(rank * rank for rank in averages) - k * (k + 1) ** 2 / 4
    chi_squared = max(12 * sets / (k * (k + 1)) * spread, 0.0)
    rest = sets * (k - 1) - chi_squared
    if rest <= 1e-9:
        return Friedman(chi_squared, math.inf, 0.0)
    f = (sets - 1) * chi_squared / rest
    return Friedman(chi_squared, f, f_tail(f, k - 1, (k - 1) * (sets - 1)))


def critical_difference(systems: int, sets: int) -> float:
    """How far two mean ranks must lie apart to differ at 0.05 by the Nemenyi test."""
    return NEMENYI_Q_05[systems] * math.sqrt(systems * (systems + 1) / (6 * sets))


def cliques(sorted_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """The largest groups (first, last) of sorted mean ranks that lie within the critical difference; groups of one are left out."""
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(sorted_ranks):
        last = max(i for i, other in enumerate(sorted_ranks) if other - rank <= difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of values with the interval of Student's t."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    half = t_quantile((1 + level) / 2, len(values) - 1) * deviation(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; not a number where there are fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t above the median."""

    def missing(t: float) -> float:
        return 1 - beta_share(freedom / (freedom + t * t), freedom / 2, 0.5) / 2 - probability

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return _root(missing, 0.0, high)


def f_tail(f: float, numerator: int, denominator: int) -> float:
    """The probability that an F distributed value is larger."""
    if f <= 0:
        return 1.0
    return beta_share(denominator / (denominator + numerator * f), denominator / 2, numerator / 2)


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    upper, lower, product = 1.0, 0.0, 1.0
    for i in range(500):
        factor = _fraction_term(i, x, a, b)
        lower = 1 / (_away_from_zero(1 + factor * lower))
        upper = _away_from_zero(1 + factor / upper)
        product *= upper * lower
        if abs(upper * lower - 1) < 1e-14:
            break
    return front * (product - 1)


def _fraction_term(i: int, x: float, a: float, b: float) -> float:
    if i == 0:
        return 1.0
    m = i // 2
    if i % 2 == 0:
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))


def _away_from_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero, by halving."""
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2
