//! The measures of `zero_cost` on cells of NAS-Bench-201, beside the published ones of the same cells and the accuracies of the table.
//!
//! ```text
//! cargo run --release -p benches --example zero_cost -- DATA [CELLS] [BATCH]
//! ```
//!
//! `DATA` holds `nas/nb201.csv.gz`, `nas/nb201_zc_c10.csv.gz` and `images/cifar10_small`. Networks are as in the benchmark: 5 cells a
//! stage, 16 channels.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use automl_core::{Alone, Cancel, EvaluatorConfig, SearchSpace};
use automl_nas::NasBench201;
use automl_nas::images::ImageData;
use automl_nas::zero_cost::{Measure, ZeroCost};
use benches::{kendall, spearman};
use flate2::read::GzDecoder;

type Problem = Box<dyn Error + Send + Sync>;

/// Our measures, and what the table calls them.
const PAIRS: [(Measure, &str); 8] = [
    (Measure::Synflow, "synflow"),
    (Measure::Snip, "snip"),
    (Measure::GradNorm, "grad_norm"),
    (Measure::JacobCov, "jacov"),
    (Measure::Zen, "zen"),
    (Measure::Naswot, "nwot"),
    (Measure::Parameters, "params"),
    (Measure::Flops, "flops"),
];

/// Rows by `index`, each by its columns.
fn table(path: &Path) -> Result<BTreeMap<usize, BTreeMap<String, String>>, Problem> {
    let mut lines = BufReader::new(GzDecoder::new(File::open(path)?)).lines();
    let header: Vec<String> = lines.next().ok_or("an empty table")??.split(',').map(str::to_owned).collect();
    let mut rows = BTreeMap::new();
    for line in lines {
        let row: BTreeMap<String, String> = header.iter().cloned().zip(line?.split(',').map(str::to_owned)).collect();
        rows.insert(row.get("index").ok_or("no index")?.parse()?, row);
    }
    Ok(rows)
}

fn main() -> Result<(), Problem> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("say where the data are")?;
    let cells: usize = arguments.next().map_or(Ok(100), |count| count.parse())?;
    let batch_size: usize = arguments.next().map_or(Ok(64), |count| count.parse())?;
    let data = Path::new(&data);
    let (cells_of, proxies) = (table(&data.join("nas/nb201.csv.gz"))?, table(&data.join("nas/nb201_zc_c10.csv.gz"))?);
    let config = ZeroCost {
        images: Some(ImageData { folder: data.join("images/cifar10_small"), ..ImageData::default() }),
        measure: Measure::Naswot,
        report: Measure::ALL.to_vec(),
        batch_size,
        ..ZeroCost::default()
    };
    let evaluator = config.build(1)?;
    let space = NasBench201::default();
    let (mut ours, mut theirs, mut accuracies) =
        (BTreeMap::<&str, Vec<f64>>::new(), BTreeMap::<&str, Vec<f64>>::new(), Vec::<f64>::new());
    let start = Instant::now();
    // Evenly over the table, whose order is that of no figure.
    let step = (proxies.len() / cells).max(1);
    for (index, known) in proxies.iter().step_by(step).take(cells) {
        let row = cells_of.get(index).ok_or("a cell that the table does not have")?;
        let genotype = space.parse(row.get("arch_str").ok_or("no arch_str")?)?;
        let mut alone = Alone { seed: 1, fidelity: 1.0, cancel: Cancel::new() };
        let Ok(found) = evaluator.evaluate(&genotype, &mut alone) else { continue };
        for (measure, column) in PAIRS {
            ours.entry(column).or_default().push(found.metrics.get(measure.name()).copied().ok_or("not measured")?);
            theirs.entry(column).or_default().push(known.get(column).ok_or("no such column")?.parse()?);
        }
        accuracies.push(row.get("c10_val200_mean").ok_or("no accuracy")?.parse()?);
    }
    println!("{} cells, batches of {batch_size}, {:.0} s in all", accuracies.len(), start.elapsed().as_secs_f64());
    println!(
        "| measure | Spearman's ρ with the published one | Kendall's τ with accuracy: ours | published |\n|---|---|---|---|"
    );
    for (measure, column) in PAIRS {
        let (ours, theirs) = (&ours[column], &theirs[column]);
        let [own, published] = [ours, theirs].map(|values| kendall(values, &accuracies));
        println!("| `{}` | {:.3} | {own:.3} | {published:.3} |", measure.name(), spearman(ours, theirs));
    }
    Ok(())
}
