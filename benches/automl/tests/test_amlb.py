"""The adapter for the AutoML Benchmark, with stand-ins for the few things of the benchmark that it touches."""

import importlib
import importlib.util
import json
import sys
import tempfile
import time
import types
import unittest
from pathlib import Path
from unittest import mock

import context

ADAPTER = context.BENCH / "amlb" / "AutoML_rs"


class Timer:
    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.duration = time.monotonic() - self.start


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    return made


def load(path, stubs):
    """Imports a file with stand-ins for modules; numpy's only where there is none."""
    spec = importlib.util.spec_from_file_location(f"adapter_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    try:
        importlib.import_module("numpy")  # before the modules are put back, since it cannot be loaded twice
    except ImportError:
        stubs = stubs | {"numpy": module("numpy", array=list)}
    with mock.patch.dict(sys.modules, stubs):
        spec.loader.exec_module(loaded)
    return loaded


def load_exec():
    callee = module("frameworks.shared.callee", call_run=None, result=lambda **members: members)
    utils = module("frameworks.shared.utils", Timer=Timer)
    parents = {name: module(name) for name in ("frameworks", "frameworks.shared")}
    return load(ADAPTER / "exec.py", parents | {"frameworks.shared.callee": callee, "frameworks.shared.utils": utils})


class Adapter(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = context.make_data(Path(folder.name))
        self.exec = load_exec()

    def dataset(self, pair, target, classes=None, categorical=()):
        paths = {part: types.SimpleNamespace(path=str(self.data / pair / f"{part}.csv")) for part in ("train", "test")}
        described = types.SimpleNamespace(name=target, classes=classes)
        return types.SimpleNamespace(**paths, target=described, categorical=list(categorical))

    def config(self, **more):
        usual = {
            "type": "classification", "metric": "auc", "max_runtime_seconds": 2, "cores": 1, "max_mem_size_mb": 2000, "seed": 4000000000,
            "framework_params": {}, "output_predictions_file": "predictions.csv", "result_dir": str(self.data),
        }  # fmt: skip
        return types.SimpleNamespace(**usual | more)

    def test_what_the_command_carries(self):
        parameters = {"_binary": "/x/automl", "_strategy": "tpe", "_flags": ["--ensemble", "1"], "study.lag": 3}
        dataset = self.dataset("labels", "answer", ["no", "yes"], ["a letter"])
        command = self.exec.fit_command(dataset, self.config(framework_params=parameters), Path("/work"))
        self.assertEqual(command[:3], ["/x/automl", "fit", dataset.train.path])
        flags = " ".join(command[3:])
        for part in (
            "--target answer", "--task classification", "--time-limit 2s", "--workers 1", "--memory-limit 2000MB", "--seed 4000000000",
            "--metric roc_auc", "--strategy tpe", '--set evaluator.types."a letter"=category', "--set study.lag=3", "--ensemble 1",
        ):  # fmt: skip
            self.assertIn(part, flags)

    def test_what_is_not_limited_is_not_passed_on(self):
        config = self.config(metric="rmsle", seed=None, max_mem_size_mb=-1, type="regression")
        with self.assertLogs(level="WARNING"):
            command = self.exec.fit_command(self.dataset("values", "y"), config, Path("/work"))
        self.assertFalse({"--metric", "--seed", "--memory-limit"} & set(command))
        self.assertEqual(command[0], str(ADAPTER / "bin" / "automl"))

    def test_classes_that_were_not_seen_get_no_probability(self):
        rows = [{"prediction": "B", "proba_A": "0.25", "proba_B": "0.75"}]
        self.assertEqual(self.exec.read_probabilities(rows, ["a", "b", "c"]), (["A", "B", "c"], [[0.25, 0.75, 0.0]]))

    def test_a_failure_carries_the_message(self):
        with self.assertRaisesRegex(RuntimeError, "automl -c ended with 3: why"):
            self.exec.call(["sh", "-c", "echo why >&2; exit 3"])

    def test_the_module_hands_the_task_over(self):
        handed = {}
        stubs = {
            "amlb": module("amlb"),
            "amlb.benchmark": module("amlb.benchmark", TaskConfig=object),
            "amlb.data": module("amlb.data", Dataset=object),
            "amlb.utils": module("amlb.utils", call_script_in_same_dir=lambda *args, **_: handed.update(setup=args)),
        }
        caller = module("frameworks.shared.caller", run_in_venv=lambda *args, **named: handed.update(args=args, **named))
        features = [types.SimpleNamespace(name="a", data_type="nominal"), types.SimpleNamespace(name="b", data_type="real")]
        split = types.SimpleNamespace(data_path=lambda kind: f"x.{kind}")
        target = types.SimpleNamespace(name="y", values=["0", "1"])
        adapter = load(ADAPTER / "__init__.py", stubs)
        adapter.setup("latest")
        with mock.patch.dict(
            sys.modules, {"frameworks.shared.caller": caller, "frameworks": module("f"), "frameworks.shared": module("s")}
        ):
            adapter.run(types.SimpleNamespace(train=split, test=split, target=target, predictors=features), "config")
        self.assertEqual(handed["setup"][1:], ("setup.sh", "latest"))
        self.assertEqual(handed["args"][1], "exec.py")
        expected = {
            "train": {"path": "x.csv"},
            "test": {"path": "x.csv"},
            "target": {"name": "y", "classes": ["0", "1"]},
            "categorical": ["a"],
        }
        self.assertEqual(json.loads(json.dumps(handed["input_data"])), expected)

    @unittest.skipUnless(context.real_binary(), "there is no program; AUTOML_BINARY may name it")
    def test_the_real_program(self):
        parameters = {"_binary": context.real_binary()}
        dataset = self.dataset("labels", "answer", ["maybe", "no", "yes"], ["letter"])
        done = self.exec.run(dataset, self.config(framework_params=parameters))
        self.assertEqual(sorted(done["probabilities_labels"]), ["maybe", "no", "yes"])
        self.assertEqual((len(done["predictions"]), len(done["truth"]), len(done["probabilities"])), (35, 35, 35))
        self.assertGreater(sum(a == b for a, b in zip(done["predictions"], done["truth"])), 30)
        self.assertTrue(all(abs(sum(row) - 1) < 1e-4 for row in done["probabilities"]))
        self.assertGreater(done["models_count"], 0)

        config = self.config(type="regression", metric="rmse", framework_params=parameters)
        done = self.exec.run(self.dataset("values", "y"), config)
        self.assertIsNone(done["probabilities"])
        self.assertTrue(all(isinstance(float(value), float) for value in done["predictions"]))


if __name__ == "__main__":
    unittest.main()
