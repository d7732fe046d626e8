#!/usr/bin/env python3
"""Tables in Markdown, and a critical-difference diagram, from results of `run.py`.

    report.py results.jsonl [more.jsonl …] [--reference automl] [--rivals targets.md] [--svg cd.svg] [--out report.md]

A failed run counts as the constant prediction that its line tells. Ranks are of mean scores rounded to four digits, over the pairs that all
systems have. `--rivals` reads the first Markdown table with the head `pair | SYSTEM | …` of a file as further systems with one seed each.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plot
import ranks
from run import read_records

DIGITS = 4


@dataclass
class Results:
    """Scores by system, pair and seed, the pairs of each system where a run failed, and the raw lines by system."""

    scores: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    failed: set[tuple[str, str]] = field(default_factory=set)
    records: dict[str, list[dict]] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """The systems in the order in which they came."""
        return list(self.scores)

    @property
    def pairs(self) -> list[str]:
        """All pairs, in the order of their names."""
        return sorted({pair for by_pair in self.scores.values() for pair in by_pair}, key=str.lower)

    def mean(self, system: str, pair: str) -> float | None:
        """The mean score over seeds, rounded; none without a score."""
        scores = self.scores[system].get(pair)
        return round(math.fsum(scores.values()) / len(scores), DIGITS) if scores else None

    def means(self, system: str, pairs: Iterable[str]) -> list[float]:
        """The mean scores on pairs; those without a score are left out."""
        return [mean for pair in pairs if (mean := self.mean(system, pair)) is not None]

    def common_pairs(self, systems: Iterable[str]) -> list[str]:
        """The pairs that all of the systems have."""
        return [pair for pair in self.pairs if all(self.mean(system, pair) is not None for system in systems)]

    def add(self, system: str, pair: str, seed: int, score: float) -> None:
        """Takes a score in."""
        self.scores.setdefault(system, {}).setdefault(pair, {})[seed] = score


def collect(records: Iterable[dict], budget: float | None = None) -> Results:
    """Results of lines; where there are several budgets, each makes systems of its own. The last line of a run counts."""
    last = {(r["system"], r["pair"], r["seed"], float(r["budget"])): r for r in records if budget is None or float(r["budget"]) == budget}
    many = len({key[3] for key in last}) > 1
    results = Results()
    for (system, pair, seed, seconds), record in last.items():
        name = f"{system} {seconds:g} s" if many else system
        results.records.setdefault(name, []).append(record)
        results.scores.setdefault(name, {})
        score = record.get("score")
        if score is None:
            results.failed.add((name, pair))
            score = record.get("constant")
        if score is not None:
            results.add(name, pair, seed, score)
    return results


def add_rivals(results: Results, text: str) -> None:
    """Takes the first table with the head `pair | …` in; rows of means and cells without a number are left out."""
    rows = [_cells(line) for line in text.splitlines()]
    start = next((i for i, cells in enumerate(rows) if cells and cells[0] == "pair"), None)
    if start is None:
        raise SystemExit("the rivals' file has no table with the head `| pair | …`")
    names = [f"{name} (rival)" if name in results.scores else name for name in rows[start][1:]]
    for cells in rows[start + 2 :]:
        if not cells:
            break
        if not cells[0].startswith("mean"):
            for name, cell in zip(names, cells[1:], strict=False):
                if re.fullmatch(r"-?\d*\.?\d+", cell):
                    results.add(name, cells[0], 1, float(cell))


def _cells(line: str) -> list[str]:
    """The cells of a row of a Markdown table without emphasis; none for another line."""
    line = line.strip()
    return [cell.strip().strip("*`").strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def render(results: Results, reference: str, tie: float, svg: str | None) -> str:
    """The whole report; `svg` is the path of the diagram to show."""
    parts = ["# Results", score_table(results), rank_section(results), difference_table(results, reference, tie), usage_table(results)]
    if svg is not None:
        parts.insert(3, f"![Critical-difference diagram]({svg})")
    failures = failure_list(results)
    return "\n\n".join(parts + ([failures] if failures else [])) + "\n"


def score_table(results: Results) -> str:
    """Mean and deviation over seeds of each system on each pair."""
    rows = [[pair, *(_score_cell(results, system, pair) for system in results.systems)] for pair in results.pairs]
    note = "Mean score ± standard deviation over seeds (none for one seed); bold is the best. † a run failed and counts as a constant."
    return "## Scores\n\n" + note + "\n\n" + table(["pair", *results.systems], rows)


def _score_cell(results: Results, system: str, pair: str) -> str:
    mean = results.mean(system, pair)
    if mean is None:
        return "–"
    best = max(m for other in results.systems if (m := results.mean(other, pair)) is not None)
    scores = list(results.scores[system][pair].values())
    spread = f" ± {ranks.deviation(scores):.4f}" if len(scores) > 1 else ""
    shown = f"**{mean:.4f}**" if mean == best else f"{mean:.4f}"
    return shown + spread + (" †" if (system, pair) in results.failed else "")


def rank_section(results: Results) -> str:
    """Mean ranks over the common pairs with the Friedman test."""
    found = rank_systems(results)
    if found is None:
        return "## Ranks\n\nThere is no pair that all systems have, or there is one system alone."
    averages, pairs = found
    rows = [[name, f"{rank:.2f}"] for name, rank in sorted(averages.items(), key=lambda item: item[1])]
    note = f"Mean rank over the {len(pairs)} pairs that all {len(averages)} systems have; 1 is the best, ties share a rank."
    text = f"## Ranks\n\n{note}\n\n" + table(["system", "mean rank"], rows)
    if len(pairs) < 2:
        return text
    test = ranks.friedman(list(averages.values()), len(pairs))
    text += f"\n\nFriedman: χ² = {test.chi_squared:.2f}, F = {test.f:.2f} (Iman and Davenport), p = {test.p:.2g}."
    if len(averages) in ranks.NEMENYI_Q_05:
        text += f" Nemenyi: mean ranks differ at .05 where they lie {ranks.critical_difference(len(averages), len(pairs)):.2f} apart."
    return text


def rank_systems(results: Results) -> tuple[dict[str, float], list[str]] | None:
    """Mean ranks over the pairs that all systems have, and these pairs; none where there is nothing to rank."""
    names = results.systems
    pairs = results.common_pairs(names)
    if len(names) < 2 or not pairs:
        return None
    by_pair = list(zip(*(results.means(name, pairs) for name in names), strict=True))
    return dict(zip(names, ranks.mean_ranks(by_pair), strict=True)), pairs


def difference_table(results: Results, reference: str, tie: float) -> str:
    """Each system's scores less those of the reference, pair by pair."""
    rows = [_difference_row(results, system, reference, tie) for system in results.systems if system != reference]
    note = (
        f"Score less that of `{reference}`, over the pairs that both have: mean with the 95 % interval of Student's t over pairs, the "
        f"median, and on how many pairs the system is ahead, even (within {tie:g}) and behind."
    )
    head = ["system", "pairs", "mean difference", "95 % interval", "median", "wins", "ties", "losses"]
    return f"## Beside {reference}\n\n{note}\n\n" + table(head, rows)


def _difference_row(results: Results, system: str, reference: str, tie: float) -> list[str]:
    pairs = results.common_pairs([system, reference])
    if not pairs:
        return [system, "0", *["–"] * 6]
    differences = [a - b for a, b in zip(results.means(system, pairs), results.means(reference, pairs), strict=True)]
    interval = ranks.t_interval(differences)
    bounds = "–" if math.isnan(interval.low) else f"{interval.low:+.4f} to {interval.high:+.4f}"
    slack = tie + 1e-9
    wins, losses = sum(d > slack for d in differences), sum(d < -slack for d in differences)
    counts = [str(wins), str(len(pairs) - wins - losses), str(losses)]
    return [system, str(len(pairs)), f"{interval.mean:+.4f}", bounds, f"{_median(differences):+.4f}", *counts]


def usage_table(results: Results) -> str:
    """Time and memory of the systems that were run here."""
    rows = [_usage_row(name, records) for name, records in results.records.items()]
    note = (
        "Wall seconds from the start of the command to its end, predictions included. `over` counts runs that took longer than the budget. "
        "A low share of the processor tells of a busy machine. Memory is the peak of the largest process, at least that of the harness. "
        "Trials are the median of what the system tells."
    )
    head = ["system", "runs", "failed", "budget s", "mean wall s", "max wall s", "over", "CPU / wall", "median MB", "max MB", "trials"]
    return f"## Time and memory\n\n{note}\n\n" + table(head, rows)


def _usage_row(name: str, records: list[dict]) -> list[str]:
    walls = [record["wall"] for record in records]
    peaks = [record["peak_mb"] for record in records]
    budget = records[0]["budget"]
    share = math.fsum(record["cpu"] for record in records) / max(math.fsum(walls), 1e-9)
    failed = sum(record["status"] != "ok" for record in records)
    counts = [str(len(records)), str(failed), f"{budget:g}"]
    times = [f"{math.fsum(walls) / len(walls):.1f}", f"{max(walls):.1f}", str(sum(wall > budget for wall in walls)), f"{share:.2f}"]
    trials = [told for record in records if isinstance(told := record.get("reported", {}).get("trials"), int)]
    return [name, *counts, *times, f"{_median(peaks):.0f}", f"{max(peaks):.0f}", f"{_median(trials):.0f}" if trials else "–"]


def failure_list(results: Results) -> str:
    """How each failed run ended, with the last line that it told."""
    lines = []
    for name, records in results.records.items():
        for record in records:
            if record["status"] != "ok":
                told = (record.get("error") or "").strip().splitlines() or [""]
                last = told[-1][:200].replace("`", "'")
                lines.append(f"- {name}, {record['pair']}, seed {record['seed']}: {record['status']}: `{last}`")
    return "## Failures\n\n" + "\n".join(lines) if lines else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)


def diagram(results: Results) -> str | None:
    """The critical-difference diagram; none where there are too few pairs or systems, or too many."""
    found = rank_systems(results)
    if found is None or len(found[1]) < 2 or len(found[0]) not in ranks.NEMENYI_Q_05:
        return None
    return plot.critical_difference(found[0], len(found[1]))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def main(arguments: list[str] | None = None) -> int:
    """Writes what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="files that run.py wrote")
    parser.add_argument("--reference", help="the system that the others are put beside; default the first")
    parser.add_argument("--rivals", type=Path, help="a Markdown file with scores of further systems")
    parser.add_argument("--budget", type=float, help="only runs with this budget")
    parser.add_argument("--tie", type=float, default=0.0, help="differences up to this are ties (0, at four digits)")
    parser.add_argument("--svg", type=Path, help="where the critical-difference diagram goes")
    parser.add_argument("--out", type=Path, help="where the report goes; default standard output")
    options = parser.parse_args(arguments)

    results = collect((record for path in options.results for record in read_records(path)), options.budget)
    if options.rivals is not None:
        add_rivals(results, options.rivals.read_text(encoding="utf-8"))
    if not results.scores:
        print("error: there are no results", file=sys.stderr)
        return 2
    reference = options.reference or results.systems[0]
    if reference not in results.scores:
        print(f"error: there is no system {reference}; there are {', '.join(results.systems)}", file=sys.stderr)
        return 2
    svg = _write_diagram(results, options.svg) if options.svg is not None else None
    text = render(results, reference, options.tie, svg)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def _write_diagram(results: Results, path: Path) -> str | None:
    drawn = diagram(results)
    if drawn is None:
        print("no diagram: it takes 2 to 20 systems with two common pairs or more", file=sys.stderr)
        return None
    path.write_text(drawn, encoding="utf-8")
    return path.name


if __name__ == "__main__":
    sys.exit(main())
