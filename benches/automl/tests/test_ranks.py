import math
import unittest

import context  # noqa: F401
import ranks


class Ranks(unittest.TestCase):
    def test_ties_share_the_mean_rank(self):
        self.assertEqual(ranks.ranks([0.9, 0.5, 0.9, 0.9, 0.1]), [2.0, 4.0, 2.0, 2.0, 5.0])
        self.assertEqual(ranks.mean_ranks([[3, 2, 1], [1, 1, 2]]), [1.75, 2.25, 2.0])

    def test_the_example_of_the_paper(self):
        """C4.5 and its variants on 14 sets, section 3.2.4 of Demšar (2006)."""
        test = ranks.friedman([3.143, 2.000, 2.893, 1.964], 14)
        self.assertAlmostEqual(test.chi_squared, 9.28, delta=0.02)
        self.assertAlmostEqual(test.f, 3.69, delta=0.02)
        self.assertAlmostEqual(ranks.critical_difference(4, 14), 1.25, delta=0.005)

    def test_systems_that_always_rank_alike(self):
        self.assertEqual(ranks.friedman([1, 2, 3], 5).p, 0.0)
        self.assertEqual(ranks.friedman([2, 2, 2], 5).p, 1.0)

    def test_distributions(self):
        for freedom, quantile in ((1, 12.706), (2, 4.303), (11, 2.201), (30, 2.042), (1000, 1.962)):
            self.assertAlmostEqual(ranks.t_quantile(0.975, freedom), quantile, delta=0.0006)
        self.assertAlmostEqual(ranks.f_tail(2.85, 3, 39), 0.05, delta=0.001)
        self.assertAlmostEqual(ranks.f_tail(4.96, 1, 10), 0.05, delta=0.001)

    def test_the_interval_of_a_mean(self):
        interval = ranks.t_interval([1.0, 2.0, 3.0])
        self.assertEqual(interval.mean, 2.0)
        self.assertAlmostEqual(interval.high - 2.0, 4.303 / math.sqrt(3), delta=0.001)
        self.assertTrue(math.isnan(ranks.t_interval([1.0]).low))

    def test_cliques_are_the_largest_groups(self):
        self.assertEqual(ranks.cliques([1.0, 1.5, 2.4, 5.0], 1.0), [(0, 1), (1, 2)])
        self.assertEqual(ranks.cliques([1.0, 1.5, 1.9], 1.0), [(0, 2)])
        self.assertEqual(ranks.cliques([1.0, 3.0], 1.0), [])


if __name__ == "__main__":
    unittest.main()
