//! Puts what operators declare that a fit costs beside the clock and the allocator.
//!
//! `cargo run --release -p benches --example costs -- [ROWS COLUMNS [NAME …]]`
//!
//! Each operator is fitted with its defaults on made-up columns of the kind that it reads, and applied to them, on one thread; the
//! bytes are the most that were in use meanwhile, without the input. The time of a row is that of applying it again to up to 1,000 of
//! the rows. Printed are measured values and declared / measured; a `!` marks what is off by more than a factor of three where
//! that matters (above 10 ms, 5 MB, or 2 µs a row). Fits declared longer than 30 s are left out.

use std::sync::Arc;

use automl_core::{Cancel, operator::defaults};
use automl_nas as _;
use automl_ops::cost::Shape;
use automl_ops::frame::{Column, Frame, MISSING, Values};
use automl_ops::kinds::{DENSE, RAW};
use automl_ops::operator::{Fit, TabularOperator, Target, operator, operators};
use automl_ops::{Task, pipeline};
use cpu_time::ProcessTime;
use peak_alloc::PeakAlloc;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

type Failure = Box<dyn std::error::Error>;

fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Columns for an operator, and a target that depends on the first of them.
fn table(op: &dyn TabularOperator, task: Task, rows: usize, columns: usize) -> Result<(Frame, Target), Failure> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let numbers: Vec<Vec<f32>> =
        (0..columns).map(|_| (0..rows).map(|_| unit(&mut rng) + unit(&mut rng) + unit(&mut rng) - 1.5).collect()).collect();
    let signal: Vec<f32> = (0..rows)
        .map(|row| numbers[0][row] * numbers[1 % columns][row] + numbers[2 % columns][row] + 0.2 * unit(&mut rng))
        .collect();
    let y = match task {
        Task::Classification => {
            Target::Classes { codes: signal.iter().map(|&value| u32::from(value > 0.0)).collect(), classes: 2 }
        }
        Task::Regression => Target::Values(signal.iter().map(|&value| f64::from(value)).collect()),
    };
    let reads: Vec<_> = op.inputs().into_iter().flat_map(|port| port.accepts).collect();
    let dense = reads.contains(&DENSE);
    let raw = !dense && reads.contains(&RAW);
    let mut made: Vec<Arc<Column>> = Vec::new();
    for (index, values) in numbers.into_iter().enumerate() {
        let missing = |value: f32, row: usize| if !dense && row % 10 == index % 10 { f32::NAN } else { value };
        made.push(Arc::new(Column::new(match index % 4 {
            1 if raw => {
                let code = |(row, value): (usize, f32)| {
                    if row % 10 == 3 { MISSING } else { ((value + 1.5) * 10.0).clamp(0.0, 29.0) as u32 }
                };
                Values::Category { codes: values.into_iter().enumerate().map(code).collect(), levels: 30 }
            }
            _ => Values::Numeric(values.into_iter().enumerate().map(|(row, value)| missing(value, row)).collect()),
        })));
    }
    if raw && op.name() == "date_parts" {
        made[0] = Arc::new(Column::new(Values::DateTime((0..rows).map(|row| 1.7e9 + 3600.0 * row as f64).collect())));
    }
    if raw && op.name() == "text_tfidf" {
        let text = |row: usize| Some(Arc::from(format!("word{} and word{} with word{}", row % 97, row % 31, row % 11).as_str()));
        made[0] = Arc::new(Column::new(Values::Text((0..rows).map(text).collect())));
    }
    Ok((Frame::new(rows, made)?, y))
}

fn measure(op: &dyn TabularOperator, task: Task, rows: usize, columns: usize) -> Result<(), Failure> {
    let (x, y) = table(op, task, rows, columns)?;
    let shape: Shape = pipeline::shape(&x, &y);
    let params = defaults(&op.params());
    let declared = op.cost(&shape, &params);
    print!("| {} | {task:?} | ", op.name());
    if declared.seconds > 30.0 {
        println!("- | {:.1} s | - | {:.0} MB | - | {:.0} |", declared.seconds, declared.bytes / 1e6, declared.columns);
        return Ok(());
    }
    let cancel = Cancel::new();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let begin = ProcessTime::now();
    let fitted = op.fit(&Fit { x: &x, y: &y, weights: None, params: &params, seed: 1, cancel: &cancel });
    let output = fitted
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|fitted| fitted.apply(&x, &cancel).map_err(|error| error.to_string()));
    let seconds = begin.elapsed().as_secs_f64();
    let bytes = ALLOCATOR.peak_usage().saturating_sub(before) as f64;
    let ratio = |declared: f64, measured: f64, floor: f64| {
        let ratio = declared / measured.max(1e-9);
        let off = !(1.0 / 3.0..=3.0).contains(&ratio) && declared.max(measured) > floor;
        format!("{ratio:.2}{}", if off { " !" } else { "" })
    };
    let part = x.take(&(0..rows.min(1_000) as u32).collect::<Vec<u32>>());
    let mut row = f64::INFINITY;
    for _ in 0..5 {
        let begin = ProcessTime::now();
        if fitted.as_ref().is_ok_and(|fitted| fitted.apply(&part, &cancel).is_ok()) {
            row = row.min(begin.elapsed().as_secs_f64() / part.rows() as f64);
        }
    }
    let declared_row = op.row_seconds(&shape, &params);
    match output {
        Ok(output) => println!(
            "{seconds:.3} s | {} | {:.1} MB | {} | {} | {} | {:.2} µs | {} |",
            ratio(declared.seconds, seconds, 0.01),
            bytes / 1e6,
            ratio(declared.bytes, bytes, 5e6),
            output.columns().len(),
            ratio(declared.columns, output.columns().len() as f64, f64::INFINITY),
            1e6 * row,
            ratio(declared_row, row, 2e-6),
        ),
        Err(error) => println!("{error} |"),
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (rows, columns) = match args.as_slice() {
        [rows, columns, ..] => (rows.parse()?, columns.parse()?),
        _ => (20_000, 20),
    };
    let names: Vec<&str> = match args.get(2..) {
        Some(names) if !names.is_empty() => names.iter().map(String::as_str).collect(),
        _ => operators().iter().map(|op| op.name()).collect(),
    };
    println!(
        "| operator | task | fit + apply | declared / measured | bytes at most | declared / measured | columns | declared / measured \
         | a row | declared / measured |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for name in names {
        let op = operator(name)?;
        for &task in op.tasks() {
            pool.install(|| measure(op, task, rows, columns).map_err(|error| error.to_string()))?;
        }
    }
    Ok(())
}
