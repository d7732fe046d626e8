//! How `supernet` ranks cells of NAS-Bench-201, beside a training of each alone and the table.
//!
//! ```text
//! cargo run --release -p benches --example supernet -- DATA [CELLS] [STEPS] [EPOCHS]
//! ```
//!
//! Small networks (1 cell a stage, 8 channels, images halved by the first convolution) on `images/cifar10_small`: two cores rank twelve
//! of them in minutes. The table's networks are deeper and wider.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use automl_core::rand::SeedableRng;
use automl_core::space::sample;
use automl_core::{Alone, Cancel, Evaluator, EvaluatorConfig, Genotype};
use automl_nas::images::ImageData;
use automl_nas::network::Design;
use automl_nas::supernet::Supernet;
use automl_nas::train::{Recipe, Train};
use automl_nas::{NasBench201, Table};
use benches::{kendall, spearman};
use rand_chacha::ChaCha8Rng;

type Problem = Box<dyn Error + Send + Sync>;

fn accuracies(evaluator: &dyn Evaluator, cells: &[Genotype], figure: &str) -> Result<Vec<f64>, Problem> {
    let of = |genotype: &Genotype| {
        let found = evaluator.evaluate(genotype, &mut Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() })?;
        found.metrics.get(figure).copied().ok_or_else(|| format!("no `{figure}`").into())
    };
    cells.iter().map(of).collect()
}

fn main() -> Result<(), Problem> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let data = Path::new(arguments.first().ok_or("say where the data are")?);
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (count, steps, epochs) = (number(1, 12)?, number(2, 3000)?, number(3, 8)?);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let space = NasBench201::default();
    let cells: Vec<Genotype> = (0..count).map(|_| sample(&space, &mut rng)).collect::<Result<_, _>>()?;
    let images = Some(ImageData { folder: data.join("images/cifar10_small"), validation: 0.2, ..ImageData::default() });
    let network = Design { cells: Some(1), channels: Some(8), stem_stride: Some(2) };
    let recipe = Recipe { epochs, ..Recipe::default() };
    let shared =
        Supernet { images: images.clone(), network: network.clone(), steps, recipe: recipe.clone(), ..Supernet::default() };
    let alone = Train { images, network, recipe, ..Train::default() };
    let table = Table { file: data.join("nas/nb201.csv.gz"), report: vec!["c10_val200_mean".into()], ..Table::default() };

    let start = Instant::now();
    let by_path = accuracies(shared.build(1)?.as_ref(), &cells, "accuracy")?;
    let shared_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let by_training = accuracies(alone.build(1)?.as_ref(), &cells, "accuracy")?;
    let alone_seconds = start.elapsed().as_secs_f64();
    let by_table = accuracies(table.build(1)?.as_ref(), &cells, "c10_val200_mean")?;

    println!("| cell | path | alone | table |\n|---|---|---|---|");
    for (index, cell) in cells.iter().enumerate() {
        println!(
            "| {} | {:.3} | {:.3} | {:.2} |",
            automl_nas::Cell::of(cell)?.arch(),
            by_path[index],
            by_training[index],
            by_table[index]
        );
    }
    println!(
        "{steps} steps and {count} paths in {shared_seconds:.0} s; {count} trainings of {epochs} epochs in {alone_seconds:.0} s"
    );
    for (name, a, b) in
        [("path, alone", &by_path, &by_training), ("path, table", &by_path, &by_table), ("alone, table", &by_training, &by_table)]
    {
        println!("{name}: Kendall's τ {:.3}, Spearman's ρ {:.3}", kendall(a, b), spearman(a, b));
    }
    Ok(())
}
