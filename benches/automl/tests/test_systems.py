import re
import tempfile
import unittest
from pathlib import Path

import context
import systems


class Systems(unittest.TestCase):
    def test_the_files_of_the_repository(self):
        self.assertIn("automl", systems.read_systems(systems.PRESETS))
        ablations = systems.read_systems(context.BENCH / "ablations.toml")
        self.assertLessEqual({"darwin", "random", "regularized_evolution", "bayes", "tpe"}, ablations.keys())
        what = r"--strategy \w+ +(--set \S+ +|--ensemble 1 +)?"
        lines = {re.sub(what, "", system.template) for system in ablations.values()}
        self.assertEqual(len(lines), 1, "they differ by the strategy or one setting alone")

    def test_values_are_quoted_and_own_ones_are_not(self):
        system = systems.System("s", "run {target} {flags} {here}/x", {"flags": "--a b"}, Path("/some where"))
        self.assertEqual(system.line({"target": "it's"}), """run 'it'"'"'s' --a b '/some where'/x""")
        self.assertEqual(system.template, "run {target} --a b {here}/x")

    def test_mistakes_are_told(self):
        with self.assertRaisesRegex(systems.BadSystem, "nothing fills the placeholders tarket;"):
            systems.System("s", "run {tarket}")
        with self.assertRaisesRegex(systems.BadSystem, "there is no system x; there are .*automl"):
            systems.choose(["x"], [], [])
        with self.assertRaisesRegex(systems.BadSystem, "named twice: a"):
            systems.choose(["a=true", "a=false"], [], [])
        with self.assertRaisesRegex(systems.BadSystem, "there is no file"):
            systems.choose([], ["a=/no/such.toml"], [])

    def test_which_systems_run(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "run.toml")
            config.write_text("")
            extra = Path(folder, "extra.json")
            extra.write_text('{"systems": {"one": {"command": "true"}, "two": {"command": "false"}}}')
            names = lambda *args: [system.name for system in systems.choose(*args)]  # noqa: E731
            self.assertEqual(names([], [], []), ["automl"])
            self.assertEqual(names([], [], [extra]), ["one", "two"])
            self.assertEqual(names(["two", "automl"], [], [extra]), ["two", "automl"])
            (changed,) = systems.choose([], [f"mine={config}"], [])
            self.assertIn(f"--config {config.resolve()}", changed.template)


if __name__ == "__main__":
    unittest.main()
