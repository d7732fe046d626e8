import random
import unittest

import context  # noqa: F401
import metrics


class Scores(unittest.TestCase):
    def test_balanced_accuracy_is_the_mean_of_recalls(self):
        truth = ["a", "a", "a", "b", "c", "c"]
        self.assertAlmostEqual(metrics.balanced_accuracy(truth, ["a", "a", "b", "b", "d", "c"]), (2 / 3 + 1 + 1 / 2) / 3)

    def test_r2(self):
        self.assertAlmostEqual(metrics.r2([1, 2, 3], [1, 2, 4]), 0.5)
        self.assertEqual(metrics.r2([2, 2], [2, 2]), 1.0)
        self.assertEqual(metrics.r2([2, 2], [2, 3]), 0.0)

    def test_labels_that_are_numbers_may_be_spelt_otherwise(self):
        self.assertEqual(metrics.score("classification", ["0", "1", "1"], ["0.0", "1.0", "1"]), 1.0)
        self.assertEqual(metrics.match_labels(["1", "1.0"], ["1.0", "1"]), ["1.0", "1"])
        self.assertEqual(metrics.match_labels(["1", "nan"], ["nan", "x"]), ["nan", "x"])

    def test_what_cannot_be_scored_is_told(self):
        for task, truth, predictions in (
            ("classification", ["a"], []),
            ("classification", [], []),
            ("regression", ["1", "2"], ["1", "x"]),
            ("regression", ["1", "2"], ["1", "nan"]),
        ):
            with self.subTest(task=task, predictions=predictions), self.assertRaises(metrics.BadPredictions):
                metrics.score(task, truth, predictions)

    def test_a_constant(self):
        self.assertEqual(metrics.constant_score("classification", ["a", "b", "b"], ["a", "b", "b", "c"]), 1 / 3)
        self.assertAlmostEqual(metrics.constant_score("regression", ["1", "3"], ["1", "2", "3"]), 0.0)

    def test_beside_scikit_learn(self):
        try:
            from sklearn.metrics import balanced_accuracy_score, r2_score
        except ImportError:
            self.skipTest("there is no scikit-learn")
        draw = random.Random(1)
        for _ in range(50):
            truth = [draw.choice("abcde") for _ in range(60)]
            predictions = [label if draw.random() < 0.6 else draw.choice("abcde") for label in truth]
            self.assertAlmostEqual(metrics.balanced_accuracy(truth, predictions), balanced_accuracy_score(truth, predictions))
            values = [draw.gauss(5, 3) for _ in range(60)]
            near = [value + draw.gauss(0, 1) for value in values]
            self.assertAlmostEqual(metrics.r2(values, near), r2_score(values, near))


if __name__ == "__main__":
    unittest.main()
