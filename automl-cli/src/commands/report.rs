//! The result of a run on stdout.

use automl_core::{State, pareto};
use serde_json::json;

use automl_ops::goal::{MODEL_SIZE, PREDICT_TIME};
use automl_ops::limits::{self, Measures};

use crate::args::Format;
use crate::commands::train;
use crate::error::CliError;
use crate::keeper::Final;
use crate::output;
use crate::session::Finished;

/// Prints what a run found; its exit code.
///
/// # Errors
/// Exit code 4 where no trial was complete, unless a signal ended the run.
pub fn finished(finished: &Finished, format: Format) -> Result<u8, CliError> {
    let Some(best) = finished.best() else {
        let why = finished.trials.iter().find_map(|trial| trial.reason.as_deref());
        let why = why.map(|why| format!("; the first failure: {why}")).unwrap_or_default();
        let holds = if finished.made == Some(Final::Constant) { "predicts a constant" } else { "is that of an earlier run" };
        let model = finished.model.as_ref();
        let model = model.map(|path| format!("; {} {holds}", path.display())).unwrap_or_default();
        if finished.code != 0 {
            output::note(&format!("interrupted before a trial was complete{model}"));
            return Ok(finished.code);
        }
        let tried = finished.trials.len();
        let advice = match finished.least_beyond {
            Some(least) => beyond(least),
            None => "give more time or trials".to_owned(),
        };
        return Err(CliError::no_model(format!("no trial was complete within the budget ({tried} tried){why}{model}; {advice}")));
    };
    let scores: Vec<(&str, f64)> = finished
        .objectives
        .iter()
        .zip(&best.losses)
        .map(|(objective, loss)| (objective.name.as_str(), objective.loss(*loss)))
        .collect();
    let several = finished.objectives.len() > 1;
    let front =
        pareto::front(finished.trials.iter().filter(|_| several), |trial| trial.full_loss().map(|_| trial.losses.clone()));
    let failed = finished.count(State::Failed) + finished.count(State::Infeasible);
    if format == Format::Json {
        let value = json!({
            "scores": scores.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "model_score": finished.score,
            "predict_time": finished.measures.map(|measures| measures.predict_time),
            "predict_time_measured": finished.measured_predict_time,
            "model_size": finished.measures.map(|measures| measures.model_size as u64),
            "pareto": front.iter().map(|(trial, _)| trial.id).collect::<Vec<_>>(),
            "metrics": best.metrics,
            "genotype": best.genotype,
            "trial": best.id,
            "trials": finished.trials.len(),
            "failed": failed,
            "ended": finished.ended,
            "model": finished.model,
            "final": finished.trained.as_ref().map(train::json),
            "run_dir": finished.run_dir,
            "shared_work": finished.shared.map(|shared| json!({
                "hits": shared.hits,
                "misses": shared.misses,
                "seconds_saved": shared.saved,
                "seconds_spent": shared.spent,
            })),
            "peak_memory": finished.peak_memory,
            "seconds": finished.seconds,
        });
        output::result(|out| writeln!(out, "{value}"))?;
        return Ok(finished.code);
    }
    output::result(|out| {
        for (name, score) in &scores {
            match *name {
                PREDICT_TIME => writeln!(out, "{name:<12} {} a row  (declared, of the best alone)", limits::time(*score))?,
                MODEL_SIZE => writeln!(out, "{name:<12} {}  (of the best alone)", limits::size(*score))?,
                _ => writeln!(out, "{name:<12} {score:.6}  (on rows held out during the search)")?,
            }
        }
        writeln!(out, "{:<12} {}", "found", output::shape(&best.genotype))?;
        writeln!(
            out,
            "{:<12} {} by {}, of {} ({failed} failed); {}",
            "trial",
            best.id,
            best.origin.by,
            output::count(finished.trials.len(), "trial"),
            finished.ended
        )?;
        if let (Some(score), Some(Final::Ensemble { candidates, .. }), Some((name, _))) =
            (finished.score, finished.made, scores.first())
        {
            writeln!(out, "{:<12} {name} {score:.6} of {candidates} candidates joined, on rows that chose neither", "ensemble")?;
        }
        if let Some(model) = &finished.model {
            let made = match finished.made {
                Some(Final::AllRows) => "fitted on all rows".to_owned(),
                Some(Final::Folds(1)) => "fitted without the rows held out, as the time was short".to_owned(),
                Some(Final::Folds(folds)) => format!("the mean of {folds} fold models, as the time was short"),
                Some(Final::Ensemble { candidates, pipelines }) => {
                    format!("{} of {}", output::count(pipelines, "fitted pipeline"), output::count(candidates, "candidate"))
                }
                _ => "of an earlier session".to_owned(),
            };
            writeln!(out, "{:<12} {}  ({made})", "model", model.display())?;
        }
        if let Some(trained) = &finished.trained {
            writeln!(out, "{:<12} {}", "test", trained.summary())?;
            writeln!(out, "{:<12} {}", "model", trained.model().display())?;
        }
        if let Some(measures) = finished.measures {
            let measured = finished.measured_predict_time.map(|seconds| format!("; {} measured", limits::time(seconds)));
            writeln!(out, "{:<12} {measures}{}", "to use it", measured.unwrap_or_default())?;
        }
        if finished.objectives.len() > 1 {
            writeln!(out, "{:<12} {} (`automl trials --pareto`)", "front", output::count(front.len(), "trade-off"))?;
        }
        if let Some(run_dir) = &finished.run_dir {
            writeln!(out, "{:<12} {}  (`automl trials` lists it, `automl resume` goes on)", "run", run_dir.display())?;
        }
        if let Some(shared) = finished.shared.filter(|shared| shared.hits > 0) {
            let rate = 100.0 * shared.hits as f64 / (shared.hits + shared.misses) as f64;
            writeln!(out, "{:<12} {rate:.0} % of the steps before a model, {:.1} s saved", "shared", shared.saved)?;
        }
        if let Some(peak) = finished.peak_memory {
            writeln!(out, "{:<12} {:.0} MB at most", "memory", peak as f64 / 1e6)?;
        }
        writeln!(out, "{:<12} {:.1} s", "time", finished.seconds)
    })?;
    Ok(finished.code)
}

/// What to do where the limits left nothing.
fn beyond(least: Measures) -> String {
    let mut found = Vec::new();
    if least.predict_time.is_finite() {
        found.push(format!("{} a row", limits::time(least.predict_time)));
    }
    if least.model_size.is_finite() {
        found.push(limits::size(least.model_size));
    }
    format!(
        "of the candidates beyond the limits the least took {}: raise --max-predict-time or --max-model-size",
        found.join(", and the smallest ")
    )
}
