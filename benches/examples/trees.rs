//! Times the tree learners and scores them on a test set.
//!
//! `cargo run --release -p benches --example trees -- [TRAIN.csv TEST.csv TARGET] [--categories] [--only NAME,…] [--scores] [--set PARAM=VALUE]…`
//!
//! Without files, two classes of 20,000 × 30 made-up numbers are learnt. Columns that are not all numbers are categories, with
//! `--categories` all of them are. A target that is not all numbers, or is named `class:NAME`, is one of classes. Seconds are
//! those of the processor, all threads together; the fit is the best of three, binning included. `--scores` leaves out the speed of
//! predictions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use automl_core::{Cancel, Params, Value};
use automl_ops::cost::Shape;
use automl_ops::frame::{Column, Frame, MISSING, Values};
use automl_ops::operator::{Fit, Target, operator, operators};

type Failure = Box<dyn std::error::Error>;

/// Seconds of the processor that all threads of this process have used.
fn cpu() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let spent = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("schedstat")).ok();
    let nanoseconds = |text: String| text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    tasks.flatten().filter_map(spent).filter_map(nanoseconds).sum::<f64>() * 1e-9
}

struct Table {
    names: Vec<String>,
    cells: Vec<Vec<String>>,
}

fn read(path: &str) -> Result<Table, Failure> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    let mut cells = vec![Vec::new(); names.len()];
    for line in lines {
        cells.iter_mut().zip(line.split(',')).for_each(|(column, cell)| column.push(cell.trim().to_owned()));
    }
    Ok(Table { names, cells })
}

fn codes(train: &[String], cells: &[String]) -> (Vec<u32>, u32) {
    let mut levels: BTreeMap<&str, u32> = train.iter().filter(|cell| !cell.is_empty()).map(|cell| (cell.as_str(), 0)).collect();
    levels.values_mut().zip(0..).for_each(|(code, next)| *code = next);
    (cells.iter().map(|cell| levels.get(cell.as_str()).copied().unwrap_or(MISSING)).collect(), levels.len() as u32)
}

fn numbers(cells: &[String]) -> Option<Vec<f64>> {
    cells.iter().map(|cell| if cell.is_empty() { Some(f64::NAN) } else { cell.parse().ok() }).collect()
}

/// Features and target of a table, coded as in the training table.
fn data(train: &Table, table: &Table, target: &str, categories: bool) -> Result<(Frame, Target), Failure> {
    let (class, target) = target.strip_prefix("class:").map_or((false, target), |name| (true, name));
    let (mut columns, mut y) = (Vec::new(), None);
    for ((name, known), cells) in train.names.iter().zip(&train.cells).zip(&table.cells) {
        if name == target {
            y = Some(match numbers(known).filter(|_| !class).and_then(|_| numbers(cells)) {
                Some(values) => Target::Values(values),
                None => {
                    let (codes, levels) = codes(known, cells);
                    Target::Classes { codes, classes: levels as usize }
                }
            });
            continue;
        }
        columns.push(Arc::new(Column::new(match numbers(known).filter(|_| !categories).and_then(|_| numbers(cells)) {
            Some(values) => Values::Numeric(values.into_iter().map(|value| value as f32).collect()),
            None => {
                let (codes, levels) = codes(known, cells);
                Values::Category { codes, levels }
            }
        })));
    }
    let y = y.ok_or_else(|| format!("there is no column `{target}`"))?;
    Ok((Frame::new(y.len(), columns)?, y))
}

/// Rows of a generator, 30 numbers each, and their class: a sum of products that noise blurs.
fn made_up(rows: usize, seed: u64) -> Result<(Frame, Target), Failure> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let columns: Vec<Vec<f32>> = (0..30).map(|_| (0..rows).map(|_| unit() + unit() + unit()).collect()).collect();
    let score = |row: usize| (0..14).map(|at| columns[at][row] * columns[at + 1][row]).sum::<f32>() + columns[3][row];
    let codes = (0..rows).map(|row| u32::from(score(row) + unit() * 0.5 > 0.0)).collect();
    let columns = columns.iter().map(|values| Arc::new(Column::new(Values::Numeric(values.clone())))).collect();
    Ok((Frame::new(rows, columns)?, Target::Classes { codes, classes: 2 }))
}

/// Copies of the columns, so that a fit bins them again.
fn fresh(x: &Frame) -> Result<Frame, Failure> {
    let columns = x.columns().iter().map(|column| Arc::new(Column::new(column.values().clone()))).collect();
    Ok(Frame::new(x.rows(), columns)?)
}

fn score(y: &Target, output: &Frame) -> Result<String, Failure> {
    let p = output.matrix()?;
    Ok(match y {
        Target::Classes { codes, .. } => {
            let chance = |(row, &code): (usize, &u32)| f64::from(*p.get((row, code as usize)).unwrap_or(&0.0)).max(1e-15);
            let loss = -codes.iter().enumerate().map(chance).map(f64::ln).sum::<f64>() / codes.len() as f64;
            let right = codes.iter().zip(p.rows()).filter(|(code, row)| row.iter().all(|x| *x <= row[**code as usize])).count();
            format!("log loss {loss:.4} accuracy {:.4}", right as f64 / codes.len() as f64)
        }
        Target::Values(values) => {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let error: f64 = values.iter().zip(p.column(0)).map(|(y, p)| (y - f64::from(*p)).powi(2)).sum();
            let spread: f64 = values.iter().map(|y| (y - mean).powi(2)).sum();
            format!("RMSE {:.4} R² {:.4}", (error / values.len() as f64).sqrt(), 1.0 - error / spread)
        }
    })
}

fn main() -> Result<(), Failure> {
    let mut speed = true;
    let (mut files, mut categories, mut only, mut set) = (Vec::new(), false, "gradient_boosting".to_owned(), Params::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--categories" => categories = true,
            "--scores" => speed = false,
            "--only" => only = args.next().unwrap_or_default(),
            "--set" => {
                let text = args.next().unwrap_or_default();
                let (name, value) = text.split_once('=').ok_or("--set PARAM=VALUE")?;
                set.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)));
            }
            _ => files.push(arg),
        }
    }
    let ((x, y), (probe, truth)) = match files.as_slice() {
        [train, test, target] => {
            let (train, test) = (read(train)?, read(test)?);
            (data(&train, &train, target, categories)?, data(&train, &test, target, categories)?)
        }
        _ => (made_up(20_000, 1)?, made_up(5_000, 2)?),
    };
    let many: Vec<u32> = (0..1_000_000).map(|row| row % probe.rows().max(1) as u32).collect();
    let (many, single) = (probe.take(&many), probe.take(&[0]));
    let all = operators();
    for name in only.split(',').flat_map(|name| if name == "all" { all.iter().map(|op| op.name()).collect() } else { vec![name] })
    {
        let op = operator(name)?;
        let mut params = automl_core::operator::defaults(&op.params());
        for param in op.params() {
            if let Some(value) = set.get(param.name.as_ref()) {
                params.insert(param.name.to_string(), value.clone());
            }
        }
        let cancel = Cancel::new();
        let mut best = f64::INFINITY;
        let mut last = None;
        for _ in 0..3 {
            let x = fresh(&x)?;
            let start = cpu();
            last = Some(op.fit(&Fit { x: &x, y: &y, weights: None, params: &params, seed: 1, cancel: &cancel })?);
            best = best.min(cpu() - start);
            if best > 5.0 {
                break;
            }
        }
        let Some(fitted) = last else { continue };
        let score = score(&truth, &fitted.apply(&probe, &cancel)?)?;
        let levels = |column: &Arc<Column>| match column.values() {
            Values::Category { levels, .. } => f64::from(*levels),
            _ => 0.0,
        };
        let shape = Shape {
            rows: x.rows() as f64,
            columns: x.columns().len() as f64,
            levels: x.columns().iter().map(levels).sum(),
            classes: y.width() as f64,
        };
        print!("{name}: fit {best:.3} s (declared {:.3}), {score}", op.cost(&shape, &params).seconds);
        if speed {
            let (start, wall) = (cpu(), Instant::now());
            fitted.apply(&many, &cancel)?;
            let (spent, wall) = (cpu() - start, wall.elapsed().as_secs_f64());
            let start = cpu();
            for _ in 0..2_000 {
                fitted.apply(&single, &cancel)?;
            }
            let micros = (cpu() - start) * 1e6 / 2_000.0;
            print!(", 1 M rows {spent:.2} s ({wall:.2} s of the clock), 1 row {micros:.1} µs");
        }
        println!();
    }
    Ok(())
}
