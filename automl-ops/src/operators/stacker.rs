//! A linear stack of predictions (Wolpert 1992; Breiman 1996): a mixture, or a linear model on them.

use automl_core::{Cancel, Param, Params, Value};

use super::linear::{self, LinearClasses, LinearValues};
use super::{class_weight, damaged};
use crate::cost::{Cost, Shape};
use crate::frame::Frame;
use crate::kinds::PREDICTION;
use crate::learn::logistic::{self, LogisticParams};
use crate::learn::ridge::{self, RidgeParams};
use crate::learn::stack;
use crate::operator::{Fit, Fitted, OperatorError, TabularOperator, Target, Weights};
use crate::state::{Array, State};

/// Most classes that a file may name.
const MAX_CLASSES: usize = 1 << 16;

struct Stacker;

crate::describe! {
    Stacker: "stacker", "A mixture of predictions, or a linear model on them",
    reads [PREDICTION], emits PREDICTION,
    params [
        Param::switch("mixture", true).about("whether weights are not negative and sum to one; else a linear model is free"),
        Param::float("alpha", 1e-4, 1e3, 1.0).log().when("mixture", &[Value::Bool(false)]).about("strength of the linear model's penalty"),
        class_weight(),
    ]
}

crate::tabular_operator!(Stacker);

/// Weights of the models; `classes` is 0 for values.
struct Mixture {
    mix: Vec<f64>,
    classes: usize,
}

/// A linear model on log probabilities.
struct OnLogits {
    model: LinearClasses,
    classes: usize,
}

impl TabularOperator for Stacker {
    fn weights(&self) -> Weights {
        Weights::Exact
    }

    fn cost(&self, shape: &Shape, _: &Params) -> Cost {
        linear::passes(shape, 30.0).and_seconds(3e-8 * shape.cells())
    }

    fn fit(&self, fit: &Fit<'_>) -> Result<Box<dyn Fitted>, OperatorError> {
        let x = fit.x.matrix()?;
        let weights = fit.row_weights();
        let mixture = fit.switch("mixture")?;
        Ok(match fit.y {
            Target::Classes { codes, classes } => {
                if stack::models(x.ncols(), *classes).is_none() {
                    let why = format!("{} columns are not the probabilities of {classes} classes by whole models", x.ncols());
                    return Err(OperatorError::Infeasible(why));
                }
                if mixture {
                    let mix = stack::mix_classes(x.view(), codes, *classes, weights.as_deref(), fit.cancel)?;
                    Box::new(Mixture { mix, classes: *classes })
                } else {
                    let params = LogisticParams { c: 1.0 / fit.float("alpha")?, ..LogisticParams::default() };
                    let logits = stack::logits(x.view(), *classes);
                    let model = logistic::fit(logits.view(), codes, *classes, weights.as_deref(), &params, fit.cancel)?;
                    Box::new(OnLogits { model: LinearClasses(model), classes: *classes })
                }
            }
            Target::Values(_) if mixture => {
                let mix = stack::mix_values(x.view(), &fit.values_f32()?, weights.as_deref(), fit.cancel)?;
                Box::new(Mixture { mix, classes: 0 })
            }
            Target::Values(_) => {
                let params = RidgeParams { alpha: fit.float("alpha")? };
                let model = ridge::fit(x.view(), &fit.values_f32()?, weights.as_deref(), &params, fit.cancel)?;
                Box::new(LinearValues::new(model))
            }
        })
    }

    fn load(&self, state: &State) -> Result<Box<dyn Fitted>, OperatorError> {
        if state.arrays.contains_key("mix") {
            let (mix, classes) = (state.f64s("mix")?.to_vec(), state.get::<usize>("mix.classes")?);
            let sound = !mix.is_empty() && mix.iter().all(|m| (0.0..=1.0 + 1e-6).contains(m));
            if !sound || classes > MAX_CLASSES || mix.len().checked_mul(classes.max(1)).is_none() {
                return Err(damaged("the weights are not those of a mixture"));
            }
            return Ok(Box::new(Mixture { mix, classes }));
        }
        if state.values.contains_key("classes") {
            let model = linear::logistic(state)?;
            return Ok(Box::new(OnLogits { classes: model.classes, model: LinearClasses(model) }));
        }
        linear::load_values(state)
    }
}

impl Fitted for Mixture {
    fn apply(&self, x: &Frame, _: &Cancel) -> Result<Frame, OperatorError> {
        if self.classes > 0 {
            return Ok(Frame::from_matrix(&stack::classes(x.matrix()?.view(), &self.mix, self.classes)?));
        }
        x.expect_width(self.mix.len())?;
        let mut out = vec![0.0f64; x.rows()];
        for (index, m) in self.mix.iter().enumerate() {
            out.iter_mut().zip(x.numeric(index)?).for_each(|(to, &v)| *to += m * f64::from(v));
        }
        let bounded = |v: f64| if v.is_finite() { v.clamp(-1e18, 1e18) as f32 } else { 0.0 };
        Ok(Frame::from_rows(&out.into_iter().map(bounded).collect::<Vec<_>>(), 1))
    }

    fn save(&self, state: &mut State) {
        state.put_array("mix", Array::F64(self.mix.clone()));
        state.put("mix.classes", self.classes);
    }
}

impl Fitted for OnLogits {
    fn apply(&self, x: &Frame, cancel: &Cancel) -> Result<Frame, OperatorError> {
        let logits = stack::logits(x.matrix()?.view(), self.classes);
        self.model.apply(&Frame::from_matrix(&logits), cancel)
    }

    fn save(&self, state: &mut State) {
        self.model.save(state);
    }
}
