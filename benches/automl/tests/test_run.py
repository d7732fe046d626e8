import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import context
import run

# A system that predicts the first class, or the mean, and counts its runs.
FAKE = (
    "echo {seed} >> {count} && head -1 {test} > seen && printf 'prediction\\n' > {predictions} && "
    'tail -n +2 {test} | sed \'s/.*/\'{answer}\'/\' >> {predictions} && echo \'{{"trials": 3, "path": "/x", "many": [1]}}\''
)


class Runs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.data = context.make_data(self.folder)
        self.out = self.folder / "results.jsonl"
        self.count = self.folder / "count"

    def fake(self, answer="no"):
        return FAKE.replace("{count}", str(self.count)).replace("{answer}", answer)

    def main(self, *arguments):
        told = io.StringIO()
        base = ["--data", str(self.data), "--out", str(self.out), "--budget", "1", "--pairs", "labels"]
        with contextlib.redirect_stderr(told):
            code = run.main([*base, *arguments])
        self.told = told.getvalue()
        return code

    def records(self):
        return list(run.read_records(self.out))

    def test_a_run_is_scored_and_measured(self):
        self.assertEqual(self.main("--system", f"fake={self.fake()}", "--keep", str(self.folder / "kept")), 0)
        (record,) = self.records()
        self.assertEqual((record["system"], record["pair"], record["seed"], record["budget"]), ("fake", "labels", 1, 1.0))
        self.assertEqual((record["status"], record["metric"], record["exit_code"]), ("ok", "balanced_accuracy", 0))
        self.assertEqual((record["score"], record["constant"]), (0.5, 0.5))
        self.assertEqual(record["reported"], {"trials": 3})
        self.assertGreater(record["peak_mb"], 0.5)
        self.assertLess(record["wall"], 10)
        self.assertEqual((self.folder / "kept" / "fake-labels-1" / "seen").read_text(), "number,letter\n")

    def test_a_finished_run_is_not_run_again(self):
        self.main("--system", f"fake={self.fake()}", "--seeds", "1,2")
        self.main("--system", f"fake={self.fake()}", "--seeds", "1,2,3")
        self.assertEqual(self.count.read_text().split(), ["1", "2", "3"])
        self.assertIn("1 runs to do, 2 done before", self.told)
        self.main("--system", f"fake={self.fake()}", "--seeds", "1", "--budget", "2")
        self.assertEqual(len(self.records()), 4)

    def test_a_line_that_was_cut_short_is_run_again(self):
        self.main("--system", f"fake={self.fake()}", "--seeds", "1,2")
        self.out.write_bytes(self.out.read_bytes()[:-30])
        self.main("--system", f"fake={self.fake()}", "--seeds", "1,2")
        self.assertEqual(sorted(record["seed"] for record in self.records()), [1, 2])
        self.assertEqual(self.count.read_text().split(), ["1", "2", "2"])

    def test_another_command_of_the_name_is_told(self):
        self.main("--system", f"fake={self.fake()}")
        self.main("--system", f"fake={self.fake('yes')}")
        self.assertIn("results of another command as fake", self.told)

    def test_failures_are_kept_and_can_be_retried(self):
        self.main("--system", "broken=echo first >&2; echo why >&2; exit 3")
        self.main("--system", "broken=exit 3")
        (record,) = self.records()
        self.assertEqual((record["status"], record["score"], record["exit_code"]), ("failed", None, 3))
        self.assertEqual(record["error"], "first\nwhy")
        self.main("--system", "broken=exit 4", "--retry-failed")
        self.assertEqual([record["exit_code"] for record in self.records()], [3, 4])

    def test_bad_predictions_are_told(self):
        for command, error in (
            ("true", "no predictions"),
            ("printf 'a,b\\n1,2\\n' > {predictions}", "no column `prediction`"),
            ("printf 'prediction\\nno\\n' > {predictions}", "1 predictions for 35 rows"),
        ):
            with self.subTest(command=command):
                self.out.unlink(missing_ok=True)
                self.main("--system", f"bad={command}")
                self.assertEqual(self.records()[0]["status"], "bad_predictions")
                self.assertIn(error, self.records()[0]["error"])

    def test_the_column_of_the_target_or_the_only_one_will_do(self):
        for header in ("answer,x", "whatever"):
            path = self.folder / "predictions.csv"
            path.write_text(header + "\nyes,1\nno,2\n")
            self.assertEqual(run.read_predictions(path, "answer"), ["yes", "no"])

    def test_values(self):
        self.main("--system", f"fake={self.fake('60')}", "--pairs", "values")
        (record,) = self.records()
        self.assertAlmostEqual(record["score"], 0.0, delta=0.01)
        self.assertLess(record["constant"], -5)

    def test_all_pairs_and_unknown_ones(self):
        self.assertEqual([pair.name for pair in run.read_pairs(self.data, ["all"])], ["labels", "values"])
        with self.assertRaisesRegex(SystemExit, "has no dev_pair"):
            run.read_pairs(self.data, ["dev_pair"])

    def test_the_limit_kills_all_processes(self):
        usage = run.execute("sleep 77 & echo $! > pid; wait", self.folder, (), 0.3)
        self.assertTrue(usage.timed_out)
        self.assertLess(usage.wall, 5)
        self.assert_ends(int((self.folder / "pid").read_text()))

    def test_an_interruption_kills_all_processes(self):
        def interrupt(*_):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with self.assertRaises(KeyboardInterrupt):
            run.execute("sleep 77 & echo $! > pid; wait", self.folder, (), 30)
        self.assert_ends(int((self.folder / "pid").read_text()))

    def assert_ends(self, pid):
        """A killed child of a killed shell may stay a zombie for a while."""
        for _ in range(100):
            state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
            if state in ("", "Z", "Zs"):
                return
            time.sleep(0.02)
        self.fail(f"process {pid} lives on: {state}")

    @unittest.skipUnless(hasattr(os, "sched_setaffinity"), "cores cannot be chosen here")
    def test_cores_are_pinned_for_the_run_alone(self):
        before = os.sched_getaffinity(0)
        core = min(before)
        program = "import os, json; print(json.dumps([*os.sched_getaffinity(0)]))"
        run.execute(f'"{sys.executable}" -c "{program}"; echo $OMP_NUM_THREADS', self.folder, (core,), 30)
        first, threads = (self.folder / "stdout").read_text().split("\n")[:2]
        self.assertEqual((json.loads(first), threads), ([core], "1"))
        self.assertEqual(os.sched_getaffinity(0), before)

    @unittest.skipUnless(context.real_binary(), "there is no program; AUTOML_BINARY may name it")
    def test_the_real_program(self):
        code = self.main(
            "--system", "automl", "--binary", context.real_binary(), "--budget", "2", "--core", str(min(os.sched_getaffinity(0)))
        )
        (record,) = self.records()
        self.assertEqual((code, record["status"], record["error"]), (0, "ok", None))
        self.assertGreater(record["score"], 0.9)
        self.assertGreater(record["reported"]["trials"], 0)


if __name__ == "__main__":
    unittest.main()
