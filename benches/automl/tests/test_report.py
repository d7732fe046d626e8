import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

import context  # noqa: F401
import plot
import report

RIVALS = """# Targets

| other | table |
|---|---|
| a | 1 |

| pair | first | ours |
|---|---|---|
| p1 | **0.9000** | 0.5 |
| p2 | - | 0.6 |
| mean rank (2 pairs) | 1.0 | 2.0 |

| pair | later |
|---|---|
| p1 | 0.1 |
"""


def record(system, pair, seed, score, **more):
    usual = {"budget": 10.0, "status": "ok", "constant": 0.5, "wall": 9.0, "cpu": 8.0, "peak_mb": 100.0, "error": None}
    return usual | {"system": system, "pair": pair, "seed": seed, "score": score} | more


class Reports(unittest.TestCase):
    def setUp(self):
        self.records = [
            record("ours", "p1", 1, 0.90, reported={"trials": 12}),
            record("ours", "p1", 2, 0.80, wall=11.0),
            record("ours", "p2", 1, 0.70),
            record("theirs", "p1", 1, 0.80),
            record("theirs", "p2", 1, None, status="failed", error="first\nlast"),
            record("theirs", "p3", 1, 0.99),
        ]

    def test_scores_and_failures(self):
        text = report.render(report.collect(self.records), "ours", 0.0, None)
        self.assertIn("| p1 | **0.8500** ± 0.0707 | 0.8000 |", text)
        self.assertIn("| p2 | **0.7000** | 0.5000 † |", text)
        self.assertIn("| p3 | – | **0.9900** |", text)
        self.assertIn("- theirs, p2, seed 1: failed: `last`", text)

    def test_ranks_are_over_common_pairs(self):
        averages, pairs = report.rank_systems(report.collect(self.records))
        self.assertEqual((averages, pairs), ({"ours": 1.0, "theirs": 2.0}, ["p1", "p2"]))

    def test_scores_that_round_alike_tie(self):
        results = report.collect([record("a", "p", 1, 0.91234), record("b", "p", 1, 0.91232)])
        self.assertEqual(report.rank_systems(results)[0], {"a": 1.5, "b": 1.5})

    def test_differences(self):
        text = report.difference_table(report.collect(self.records), "ours", 0.1)
        self.assertIn("| theirs | 2 | -0.1250 | -1.0780 to +0.8280 | -0.1250 | 0 | 1 | 1 |", text)

    def test_time_and_memory(self):
        text = report.usage_table(report.collect(self.records))
        self.assertIn("| ours | 3 | 0 | 10 | 9.7 | 11.0 | 1 | 0.83 | 100 | 100 | 12 |", text)

    def test_a_later_line_of_a_run_counts(self):
        results = report.collect([*self.records, record("theirs", "p2", 1, 0.75)])
        self.assertEqual((results.mean("theirs", "p2"), results.failed), (0.75, set()))

    def test_budgets_are_systems_of_their_own(self):
        records = [*self.records, record("ours", "p1", 1, 0.95, budget=60.0)]
        self.assertEqual(report.collect(records).systems, ["ours 10 s", "theirs 10 s", "ours 60 s"])
        self.assertEqual(report.collect(records, 60.0).systems, ["ours"])

    def test_rivals_join_the_ranks(self):
        results = report.collect(self.records)
        report.add_rivals(results, RIVALS)
        self.assertEqual(results.systems, ["ours", "theirs", "first", "ours (rival)"])
        self.assertEqual((results.mean("first", "p1"), results.mean("first", "p2")), (0.9, None))
        averages, pairs = report.rank_systems(results)
        self.assertEqual(pairs, ["p1"])
        self.assertEqual(averages, {"ours": 2.0, "theirs": 3.0, "first": 1.0, "ours (rival)": 4.0})

    def test_the_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            lines, rivals, svg, out = (Path(folder, name) for name in ("r.jsonl", "t.md", "cd.svg", "report.md"))
            lines.write_text("".join(json.dumps(record) + "\n" for record in self.records) + '{"cut')
            rivals.write_text(RIVALS)
            with contextlib.redirect_stderr(io.StringIO()):
                code = report.main([str(lines), "--svg", str(svg), "--out", str(out), "--reference", "theirs"])
                wrong = report.main([str(lines), "--rivals", str(rivals), "--reference", "nobody"])
            self.assertEqual((code, wrong), (0, 2))
            self.assertIn("## Beside theirs", out.read_text())
            self.assertIn("![Critical-difference diagram](cd.svg)", out.read_text())
            ElementTree.parse(svg)


class Diagrams(unittest.TestCase):
    def test_labels_do_not_overlap_and_stay_inside(self):
        for count in (2, 3, 10, 20):
            ranks = {f"a <rather> long name & {i}": 1 + i * (count - 1) / count for i in range(count)}
            root = ElementTree.fromstring(plot.critical_difference(ranks, 12))
            texts = [node for node in root if node.tag.endswith("text")]
            labels = [node for node in texts if "name" in node.text]
            self.assertEqual(len(labels), count)
            for anchor in ("start", "end"):
                heights = sorted(float(node.get("y")) for node in labels if node.get("text-anchor") == anchor)
                self.assertTrue(all(b - a >= plot.FONT + 4 for a, b in zip(heights, heights[1:])))
            width, height = float(root.get("width")), float(root.get("height"))
            for node in labels:
                reach = len(node.text) * plot.CHARACTER * (-1 if node.get("text-anchor") == "end" else 1)
                self.assertTrue(0 <= float(node.get("x")) + reach <= width and float(node.get("y")) < height)

    def test_bars_of_a_level_lie_apart(self):
        bars = plot._stack([1.0, 1.9, 2.0, 2.85, 4.0], 1.0)
        self.assertEqual([(first, last) for first, last, _ in bars], [(1.0, 2.0), (1.9, 2.85)])
        self.assertEqual([level for _, _, level in bars], [0, 1])


if __name__ == "__main__":
    unittest.main()
