//! Spaces of convolutional cells: a list of operators and a rule of wiring, as data.
//!
//! A cell is a list of blocks. A block reads two states — the outputs of the two cells before, or of earlier blocks — applies an
//! operator to each and adds them; the cell puts out, side by side, the blocks that no other block reads (or all of them). What
//! differs between the published spaces is the [`Wiring`]: `nasnet` and `nao_cnn` have a cell of each kind, `renas` has one cell
//! for both, and in `darts` the two states of a block differ.
//!
//! As in NAS-Bench-201, operators are nodes of the [`Genotype`], and a block is a `sum` of its two:
//!
//! ```text
//! 0 before_previous   1 previous   2 op(0)  3 op(1)  4 sum(2 3)   5 op(4)  6 op(1)  7 sum(5 6)   …   normal(7 …)
//! ```
//!
//! Where a [`Network`] sets bounds, an option is legal if the cheapest way to go on from it still fits: nothing is tried twice.

mod cell;
mod size;
mod spaces;

use automl_core::rand::{Rng, RngExt};
use automl_core::space::{Asker, KnownChoose, RecordChoose};
use automl_core::{Answer, Choose, Domain, Error, Genotype, Point, Result, Trace, Value};

pub use cell::{Block, Cells, SOURCES};
pub use size::{Network, Size};
pub use spaces::{Darts, NaoCnn, NaoCnnWs, NasNet, Renas};

/// Questions of a block: a state and an operator for each of its two branches.
const QUESTIONS: usize = 4;

/// What makes a space of cells.
#[derive(Debug)]
pub struct Wiring {
    /// Names of the nodes that end the cells: `normal` and `reduction`, or `cell` for one that serves as both.
    pub cells: &'static [&'static str],
    /// The operators, in the order of the field's notation; [`Network::size`] knows what each costs.
    pub operators: &'static [&'static str],
    /// Blocks of a cell.
    pub blocks: usize,
    /// Whether the two states of a block must differ.
    pub distinct: bool,
    /// Whether a cell puts out all of its blocks, or those alone that no other block reads.
    pub concat_all: bool,
}

impl Wiring {
    /// The questions, cell by cell and block by block.
    pub fn points(&self) -> Vec<Point> {
        let blocks = (0..self.blocks.saturating_sub(1)).map(|block| Value::from(format!("block_{block}").as_str()));
        let states = Domain::Choice(SOURCES.map(Value::from).into_iter().chain(blocks).collect());
        let operators = Domain::Choice(self.operators.iter().map(|name| Value::from(*name)).collect());
        let mut points = Vec::with_capacity(self.cells.len() * self.blocks * QUESTIONS);
        for cell in self.cells {
            for block in 0..self.blocks {
                for branch in ["a", "b"] {
                    let mut ask = |what: &str, domain: &Domain| {
                        let key = format!("{cell}.{block}.{branch}.{what}");
                        points.push(Point { key, group: what.to_owned(), domain: domain.clone() });
                    };
                    ask("state", &states);
                    ask("operator", &operators);
                }
            }
        }
        points
    }

    /// Asks the questions `points` and builds the cells within the bounds of `network`.
    ///
    /// # Errors
    /// Those of `choose`; [`Error::Config`] where not even the smallest cells fit.
    pub fn build(&self, points: &[Point], network: &Network, choose: &mut dyn Choose) -> Result<Genotype> {
        let mut ask = Asker::new(points, choose);
        let mut answers = Vec::with_capacity(points.len());
        if network.bounded() {
            self.check(network)?;
        }
        for id in 0..points.len() {
            let mut legal = self.legal(&answers);
            if network.bounded() {
                for (option, legal) in legal.iter_mut().enumerate().filter(|(_, legal)| **legal) {
                    answers.push(option);
                    *legal = network.fits(&self.complete(&answers).genotype(self));
                    answers.pop();
                }
            }
            answers.push(ask.option(id, &legal, None)?);
        }
        Ok(Cells::of_answers(self, &answers).genotype(self))
    }

    /// The answers that build `genotype`, as far as they are asked for.
    ///
    /// # Errors
    /// [`Error::Outside`] for cells of another space or beyond the bounds.
    pub fn trace(&self, points: &[Point], network: &Network, genotype: &Genotype) -> Result<Trace> {
        let known = Cells::of(self, genotype)?.answers().into_iter().map(|option| Some(Answer::Option(option))).collect();
        let mut known = KnownChoose { known, fallback: None };
        let mut record = RecordChoose { inner: &mut known, trace: Vec::new() };
        match self.build(points, network, &mut record) {
            Ok(built) if built == *genotype => Ok(record.trace),
            Ok(built) => Err(Error::Outside(format!("{genotype} is not the cell that its answers build, {built}"))),
            Err(error @ Error::Config { .. }) => Err(error),
            Err(error) => Err(Error::Outside(error.to_string())),
        }
    }

    /// Reads the whole numbers of a text: a state (0 and 1 are the cells before, the earlier first) and an operator for each
    /// branch, as in NASLib's and NAO's notation.
    ///
    /// # Errors
    /// [`Error::Outside`] that says what was expected.
    pub fn parse(&self, text: &str) -> Result<Genotype> {
        let numbers: Vec<usize> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        let expected = self.cells.len() * self.blocks * QUESTIONS;
        let legal = |index: usize| self.legal(numbers.get(..index).unwrap_or_default());
        match numbers.iter().enumerate().find(|(index, number)| legal(*index).get(**number) != Some(&true)) {
            None if numbers.len() == expected => Ok(Cells::of_answers(self, &numbers).genotype(self)),
            Some((index, number)) if index < expected => {
                Err(Error::Outside(format!("`{text}`: number {index}, which is {number}, names no state or operator here")))
            }
            _ => Err(Error::Outside(format!(
                "`{text}` has {} numbers; {expected} are a state and an operator for each branch",
                numbers.len()
            ))),
        }
    }

    /// The cells with the branches of some blocks swapped; none where that is no other spelling.
    ///
    /// # Errors
    /// [`Error::Outside`] for cells of another space.
    pub fn equivalent(&self, genotype: &Genotype, rng: &mut dyn Rng) -> Result<Option<Genotype>> {
        let mut cells = Cells::of(self, genotype)?;
        let mut open: Vec<&mut Block> =
            cells.blocks.iter_mut().flatten().filter(|block| block.branches[0] != block.branches[1]).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let first = rng.random_range(0..open.len());
        for (index, block) in open.iter_mut().enumerate() {
            if index == first || rng.random() {
                block.branches.swap(0, 1);
            }
        }
        Ok(Some(cells.genotype(self)))
    }

    /// Which options of the next question the wiring allows after these answers.
    fn legal(&self, answers: &[usize]) -> Vec<bool> {
        let (block, question) = (answers.len() / QUESTIONS % self.blocks.max(1), answers.len() % QUESTIONS);
        if question % 2 == 1 {
            return vec![true; self.operators.len()];
        }
        let taken = if self.distinct && question == 2 { answers.iter().rev().nth(1) } else { None };
        (0..=self.blocks).map(|state| state < block + 2 && taken != Some(&state)).collect()
    }

    /// The cells that go on from these answers at the least cost: the cheapest operator everywhere, on what hangs loose.
    fn complete(&self, answers: &[usize]) -> Cells {
        let mut answers = answers.to_vec();
        while answers.len() < self.cells.len() * self.blocks * QUESTIONS {
            let legal = self.legal(&answers);
            let next = if answers.len() % 2 == 1 {
                size::cheapest(self.operators)
            } else {
                // Blocks that hang loose first, the last one before the others: that keeps the cell narrow.
                let block = answers.len() / QUESTIONS % self.blocks.max(1);
                let start = answers.len() / QUESTIONS / self.blocks.max(1) * self.blocks * QUESTIONS;
                let own = answers.get(start..).unwrap_or_default();
                let read = |state: usize| own.iter().step_by(2).any(|read| *read == state);
                let loose = (2..block + 2).rev().find(|&state| !read(state) && legal.get(state) == Some(&true));
                loose.or_else(|| legal.iter().rposition(|legal| *legal)).unwrap_or_default()
            };
            answers.push(next);
        }
        Cells::of_answers(self, &answers)
    }

    fn check(&self, network: &Network) -> Result<()> {
        let least = self.complete(&[]).genotype(self);
        if network.fits(&least) {
            return Ok(());
        }
        let size = network.size(&least)?;
        Err(Error::config(
            "space.network",
            format!(
                "no cells fit: the smallest network has {} parameters and {} FLOPs; raise the bounds, or lower `cells` or `channels`",
                size.parameters, size.flops
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use automl_core::SearchSpace;
    use automl_core::conformance::check_space;
    use automl_core::rand::SeedableRng;
    use automl_core::space::sample;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn bounded(max_parameters: Option<u64>, max_flops: Option<u64>) -> Network {
        Network { max_parameters, max_flops, ..Network::default() }
    }

    #[test]
    fn every_space_conforms() {
        let spaces: [&dyn SearchSpace; 5] =
            [&NasNet::default(), &NaoCnn::default(), &NaoCnnWs::default(), &Renas::default(), &Darts::default()];
        for space in spaces {
            check_space(space, 100, 2).unwrap();
        }
    }

    #[test]
    fn samples_keep_to_tight_bounds_without_a_retry() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let least = |space: &dyn SearchSpace, wiring: &Wiring| {
            let size = Network::default().size(&wiring.complete(&[]).genotype(wiring)).unwrap();
            assert!(space.points().len() >= 20);
            size
        };
        let small = least(&Renas::default(), &Renas::WIRING);
        for (parameters, flops) in
            [(Some(small.parameters), None), (Some(small.parameters * 3 / 2), Some(small.flops * 2)), (None, Some(small.flops))]
        {
            let space = Renas { network: bounded(parameters, flops) };
            check_space(&space, 20, 3).unwrap();
            for _ in 0..20 {
                let size = space.network.size(&sample(&space, &mut rng).unwrap()).unwrap();
                assert!(parameters.is_none_or(|most| size.parameters <= most) && flops.is_none_or(|most| size.flops <= most));
            }
        }
        let none = Renas { network: bounded(Some(small.parameters - 1), None) };
        let error = sample(&none, &mut rng).unwrap_err().to_string();
        assert!(error.contains("space.network") && error.contains(&small.parameters.to_string()), "{error}");
    }

    #[test]
    fn swapped_branches_and_swapped_blocks_are_one_candidate() {
        let space = NaoCnnWs::default();
        let cell = |first: &str, second: &str| {
            space.parse(&format!("{first} {second} {} {first} {second} {}", "1 2 1 2 ".repeat(3), "1 2 1 2 ".repeat(3))).unwrap()
        };
        let [a, b] = ["0 0 1 4", "1 1 0 3"];
        assert_eq!(cell(a, b).canonical_hash(), cell(b, a).canonical_hash());
        assert_eq!(cell(a, b).canonical_hash(), cell("1 4 0 0", b).canonical_hash());
        assert_ne!(cell(a, b).canonical_hash(), cell("0 4 1 0", b).canonical_hash());
        // The two cells do not stand for each other.
        let text = |normal: &str, reduction: &str| format!("{} {}", normal.repeat(5), reduction.repeat(5));
        let [one, other] = ["0 0 1 4 ", "1 1 0 3 "];
        let mixed = space.parse(&text(one, other)).unwrap();
        assert_ne!(mixed.canonical_hash(), space.parse(&text(other, one)).unwrap().canonical_hash());
    }

    #[test]
    fn notations_are_read_and_mistakes_named() {
        let space = Darts::default();
        let text = "[[[0, 0], [1, 5], [1, 1], [0, 1], [1, 3], [0, 3], [1, 3], [3, 2]], [[1, 0], [0, 2], [1, 3], [0, 3], [3, 0], [0, 1], [2, 0], [3, 6]]]";
        let genotype = space.parse(text).unwrap();
        assert!(space.trace(&genotype).is_ok());
        assert_eq!(genotype.nodes[4], automl_core::Node::new("sum", [2, 3]));
        let failing = |text: &str| space.parse(text).unwrap_err().to_string();
        assert!(failing(&text.replacen("[1, 5]", "[0, 5]", 1)).contains("number 2"), "the states of a block differ");
        assert!(failing(&text.replacen("[1, 5]", "[2, 5]", 1)).contains("number 2"), "no block is there yet");
        assert!(failing(&text.replacen("[1, 5]", "[1, 7]", 1)).contains("number 3"), "there are 7 operators");
        assert!(failing("[0, 1]").contains("has 2 numbers; 32"));
        let mut other = genotype.clone();
        other.nodes[5].inputs = vec![2];
        assert!(space.trace(&other).is_err());
        assert!(Renas::default().trace(&genotype).is_err());
    }
}
