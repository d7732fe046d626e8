//! The operators of this crate keep the promises of `automl-ops`' conformance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::time::{Duration, Instant};

use automl_core::{Cancel, Value};
use automl_nas as _;
use automl_ops::frame::Frame;
use automl_ops::operator::{Fit, Fitted, OperatorError, Target};
use automl_ops::{conformance, operator};

/// Points of a square: two numbers a row.
fn points(rows: usize) -> Frame {
    let at = |row: usize, by: f64| ((row as f64 * by).fract() * 2.0 - 1.0) as f32;
    let values: Vec<f32> = (1..=rows).flat_map(|row| [at(row, 0.754_877_666), at(row, 0.569_840_291)]).collect();
    Frame::from_rows(&values, 2)
}

fn of_points<T>(x: &Frame, of: impl Fn(f64, f64) -> T) -> Vec<T> {
    let (a, b) = (x.numeric(0).unwrap(), x.numeric(1).unwrap());
    a.iter().zip(b).map(|(&a, &b)| of(f64::from(a), f64::from(b))).collect()
}

fn fit(x: &Frame, y: &Target, set: &[(&str, Value)], cancel: &Cancel) -> Result<Box<dyn Fitted>, OperatorError> {
    let mlp = operator::operator("mlp").unwrap();
    let mut params = automl_core::operator::defaults(&mlp.params());
    set.iter().for_each(|(name, value)| drop(params.insert((*name).to_owned(), value.clone())));
    mlp.fit(&Fit { x, y, weights: None, params: &params, seed: 5, cancel })
}

#[test]
fn the_mlp_learns_what_no_line_can_say() {
    let (x, cancel) = (points(2_000), Cancel::new());
    let codes = of_points(&x, |a, b| u32::from(a * a + b * b < 0.6));
    let y = Target::Classes { codes: codes.clone(), classes: 2 };
    for activation in ["silu", "relu", "gelu"] {
        let fitted = fit(&x, &y, &[("activation", Value::from(activation))], &cancel).unwrap();
        let said = fitted.apply(&x, &cancel).unwrap();
        let right = said.numeric(1).unwrap().iter().zip(&codes).filter(|(p, code)| u32::from(**p > 0.5) == **code).count();
        assert!(right > 1_900, "{right} of 2,000 with {activation}");
    }
    let values = of_points(&x, |a, b| 100.0 + 10.0 * a * b);
    let layer = [("normalization", Value::from("layer"))];
    let fitted = fit(&x, &Target::Values(values.clone()), &layer, &cancel).unwrap();
    let said = fitted.apply(&x, &cancel).unwrap();
    let square = |pair: (&f32, &f64)| (f64::from(*pair.0) - pair.1).powi(2);
    let error = said.numeric(0).unwrap().iter().zip(&values).map(square).sum::<f64>() / 2_000.0;
    assert!(error < 1.0, "a mean squared error of {error}, and a variance of 11");
}

#[test]
fn a_fit_that_is_cut_short_is_a_model_after_its_first_epoch() {
    let x = points(20_000);
    let y = Target::Values(of_points(&x, |a, b| a + b));
    let long = [("epochs", Value::Int(200)), ("width", Value::Int(256))];
    assert!(matches!(fit(&x, &y, &long, &Cancel::new().child(Some(Instant::now()))), Err(OperatorError::Cancelled)));
    let mut wait = Duration::from_millis(100);
    let fitted = loop {
        match fit(&x, &y, &long, &Cancel::new().child(Some(Instant::now() + wait))) {
            Ok(fitted) => break fitted,
            Err(error) => assert!(matches!(error, OperatorError::Cancelled), "{error}"),
        }
        wait *= 2;
    };
    let said = fitted.apply(&x, &Cancel::new()).unwrap();
    let error =
        said.numeric(0).unwrap().iter().zip(of_points(&x, |a, b| a + b)).map(|(p, y)| (f64::from(*p) - y).abs()).sum::<f64>();
    assert!(error / 20_000.0 < 0.3, "{error}");
}

#[test]
fn the_mlp_keeps_its_promises() {
    let mlp = operator::operator("mlp").unwrap();
    conformance::check_operator(mlp).unwrap_or_else(|problem| panic!("{problem}"));
}
