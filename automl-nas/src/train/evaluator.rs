//! The evaluator `train`.

use std::collections::BTreeMap;
use std::sync::Arc;

use automl_core::hash::StableHash;
use automl_core::schemars::JsonSchema;
use automl_core::{
    Cancel, Direction, Error, EvalContext, Evaluation, Evaluator, Genotype, Objective, Price, Result, SearchSpace, Stop, plugin,
};
use serde::{Deserialize, Serialize};

use super::classifier::TrainError;
use super::device::{Device, Trainee};
use super::language::{Language, LanguageModel, nodes};
use super::price::price_of_text;
use super::{Pools, Recipe, price};
use crate::NaoRnn;
use crate::cells::Renas;
use crate::images::{ImageData, Images, Normalizer, Rows, Split};
use crate::network::{Design, Plan, plan};
use crate::text::{Corpus, TextData};

/// Builds the network of a candidate and trains it, on images or on text.
///
/// On images, candidates are cells or chains of any space of networks on images (`nasnet`, `nao_cnn`, `nao_cnn_ws`, `renas`, `darts`,
/// `nas_bench_101`, `nas_bench_201`, `nas_bench_macro`), and the objective is the accuracy on the validation rows. On text, they are
/// recurrent cells (`nao_rnn`) of a language model, and the objective is the perplexity of the validation text. Either is that of the
/// best epoch, as NAO has it (Luo et al., "Neural Architecture Optimization", NeurIPS 2018). The fidelity is the share of the epochs;
/// the figure is reported after each epoch, so that races and `successive_halving` work.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "automl_core::schemars")]
pub struct Train {
    /// Images to learn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageData>,
    /// A text to learn from, where there are no images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextData>,
    /// The network around the candidate's cells.
    pub network: Design,
    /// The language model around a recurrent cell.
    pub language: Language,
    /// How it is trained.
    pub recipe: Recipe,
    /// Whose seed a training has; default `same`.
    pub seeds: Seeds,
    /// Where networks on images are trained; default `cpu`. Recurrent cells are trained on the processor.
    pub device: Device,
}

/// Whose seed a training has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "automl_core::schemars")]
pub enum Seeds {
    /// All candidates have that of the study: parts that they have in common begin alike, and batches are the same.
    #[default]
    Same,
    /// Each candidate has one of its own, mixed from that of the study and its graph: luck then differs between candidates.
    Mixed,
}

/// The place of the settings in a config.
const PLACE: &str = "evaluator";

plugin! {
    "train",
    impl EvaluatorConfig for Train {
        fn build(&self, workers: usize) -> Result<Arc<dyn Evaluator>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Arc::new(TrainEvaluator::new(self, workers)?))
        }

        fn space(&self) -> Result<Option<Arc<dyn SearchSpace>>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Some(if self.text.is_some() { Arc::new(NaoRnn::default()) } else { Arc::new(Renas::default()) }))
        }
    }
}

/// The running half of [`Train`].
pub struct TrainEvaluator {
    config: Train,
    data: Data,
    pools: Pools,
}

/// What is learnt from.
enum Data {
    Images { training: Images, validation: Images, normalizer: Normalizer },
    Text(Corpus),
}

impl TrainEvaluator {
    /// Reads the data; `workers` will evaluate at once.
    ///
    /// # Errors
    /// Bad settings or data.
    pub fn new(config: &Train, workers: usize) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        config.recipe.check(&format!("{PLACE}.recipe"))?;
        config.language.check(&format!("{PLACE}.language"))?;
        if config.text.is_none() {
            config.device.check(&format!("{PLACE}.device"))?;
        }
        let data = match (&config.images, &config.text) {
            (Some(images), None) => {
                let Split { training, validation } = images.read()?;
                let validation = validation.ok_or_else(|| {
                    Error::config(format!("{PLACE}.images.validation"), "is 0; a search needs rows to validate on")
                })?;
                Data::Images { normalizer: Normalizer::of(&training), training, validation }
            }
            (None, Some(text)) => {
                config.device.check_for_text(&format!("{PLACE}.device"))?;
                Data::Text(text.read()?)
            }
            _ => {
                let problem = "names no data, or two kinds; give `images = { folder = \"…\" }` (`--set evaluator.images.folder=…`) or \
                               `text = { folder = \"…\" }`";
                return Err(Error::config(PLACE, problem).into());
            }
        };
        Ok(Self { config: config.clone(), data, pools: Pools::new(workers)? })
    }

    fn objective(&self) -> Objective {
        match self.data {
            Data::Images { .. } => Objective { name: "accuracy".into(), direction: Direction::Maximize },
            Data::Text(_) => Objective { name: "perplexity".into(), direction: Direction::Minimize },
        }
    }

    fn plan(&self, genotype: &Genotype, images: &Images) -> Result<Plan> {
        let auxiliary = self.config.recipe.auxiliary > 0.0;
        plan(genotype, &self.config.network, images.shape, images.classes.len(), auxiliary)
    }

    /// Trains for the epochs of the trial's fidelity; `epoch` trains for one and gives the objective and the losses.
    fn run(
        &self,
        cx: &mut dyn EvalContext,
        mut figures: BTreeMap<String, f64>,
        mut epoch: impl FnMut(&Cancel) -> Result<[f64; 3], TrainError>,
    ) -> Result<Evaluation, Stop> {
        let (objective, recipe, cancel) = (self.objective(), &self.config.recipe, cx.cancel().clone());
        let mut best: Option<(f64, usize)> = None;
        let (mut done, mut last) = (0, [f64::NAN; 3]);
        while done < recipe.epochs_at(cx.fidelity()) {
            last = epoch(&cancel)?;
            done += 1;
            let loss = objective.loss(last[0]);
            if !loss.is_finite() {
                return Err(TrainError::Diverged(done).into());
            }
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, done));
            }
            cx.report(done as u64 - 1, &[loss])?;
            let waited = best.map_or(0, |(_, at)| done - at);
            if recipe.patience > 0 && waited >= recipe.patience {
                break;
            }
        }
        let (loss, _) = best.ok_or(Stop::Cancelled)?;
        let [_, training_loss, validation_loss] = last;
        let told = [("training_loss", training_loss), ("validation_loss", validation_loss), ("epochs", done as f64)];
        figures.extend(told.into_iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name.to_owned(), value)));
        figures.insert(objective.name.clone(), objective.loss(loss));
        Ok(Evaluation { losses: vec![loss], metrics: figures, artifact: None })
    }
}

/// Figures of a network that do not depend on its training.
fn sizes([parameters, flops]: [u64; 2]) -> BTreeMap<String, f64> {
    [("parameters", parameters), ("flops", flops)].map(|(name, value)| (name.to_owned(), value as f64)).into()
}

impl Evaluator for TrainEvaluator {
    fn objectives(&self) -> Vec<Objective> {
        vec![self.objective()]
    }

    fn evaluate(&self, genotype: &Genotype, cx: &mut dyn EvalContext) -> Result<Evaluation, Stop> {
        let infeasible = |error: Error| Stop::Infeasible(error.to_string());
        let seed = match self.config.seeds {
            Seeds::Same => cx.seed(),
            Seeds::Mixed => StableHash::new("train").number(cx.seed()).number(genotype.canonical_hash()).finish(),
        };
        let (recipe, epochs) = (&self.config.recipe, self.config.recipe.epochs_at(cx.fidelity()));
        match &self.data {
            Data::Images { training, validation, normalizer } => {
                let plan = self.plan(genotype, training).map_err(infeasible)?;
                let size = plan.size();
                let mut trainee = Trainee::new(self.config.device, plan, recipe, epochs, seed)?;
                let (training, validation) = (Rows::new(training, normalizer), Rows::new(validation, normalizer));
                self.run(cx, sizes([size.parameters, size.flops]), |cancel| {
                    let (loss, figures) = trainee.epoch(&self.pools, &training, Some(&validation), cancel)?;
                    Ok(figures.map_or([f64::NAN; 3], |figures| [figures.accuracy, loss, figures.loss]))
                })
            }
            Data::Text(corpus) => {
                let (language, words) = (&self.config.language, corpus.vocabulary.len());
                let mut model = LanguageModel::new(genotype, language, words, recipe, epochs, seed).map_err(infeasible)?;
                self.run(cx, sizes(language.size(genotype.nodes.len().saturating_sub(2), words)), |cancel| {
                    self.pools.on(|| {
                        let loss = model.epoch(&corpus.training, cancel)?;
                        let (validation, _) = model.judge(&corpus.validation, cancel)?;
                        Ok([validation.exp(), loss, validation])
                    })
                })
            }
        }
    }

    fn price(&self, genotype: &Genotype, fidelity: f64) -> Option<Price> {
        let (recipe, epochs) = (&self.config.recipe, self.config.recipe.epochs_at(fidelity));
        Some(match &self.data {
            Data::Images { training, validation, .. } => {
                let plan = self.plan(genotype, training).ok()?;
                price(&plan, [training.len(), validation.len()], epochs, recipe.batch_size)
            }
            Data::Text(corpus) => {
                let (activations, _) = nodes(genotype).ok()?;
                let tokens = [corpus.training.len(), corpus.validation.len()];
                let language = &self.config.language;
                price_of_text(language, activations.len(), corpus.vocabulary.len(), tokens, epochs, recipe.batch_size)
            }
        })
    }
}
