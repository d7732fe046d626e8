//! `automl predict`: a CSV with the column `prediction`, and `proba_LABEL` for each class where asked for.

use std::io::Write;

use automl_core::Cancel;
use automl_ops::Model;
use automl_ops::model::Predictions;

use crate::args::Predict;
use crate::error::CliError;
use crate::output;

pub fn run(args: &Predict, quiet: bool) -> Result<u8, CliError> {
    let model = Model::load(&args.model)?;
    let labels = &model.about.labels;
    if args.proba && labels.is_empty() {
        return Err(CliError::usage("--proba needs a model of classes; this one predicts values"));
    }
    let table = model.read(&args.data, false)?;
    for warning in table.warnings.iter().filter(|_| !quiet) {
        output::note(&format!("note: {warning}"));
    }
    let predictions = model.predict(&table, &Cancel::new())?;
    output::file_or_stdout(args.out.as_deref(), |out| write(out, labels, &predictions, args.proba))?;
    Ok(0)
}

fn write(out: &mut dyn Write, labels: &[String], predictions: &Predictions, proba: bool) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let mut record = csv::StringRecord::new();
    record.push_field("prediction");
    if proba {
        labels.iter().for_each(|label| record.push_field(&format!("proba_{label}")));
    }
    csv.write_record(&record).map_err(io)?;
    let rows = predictions.values.chunks(predictions.width.max(1));
    for (row, class) in rows.zip(predictions.classes()) {
        record.clear();
        match labels.get(class) {
            Some(label) => record.push_field(label),
            None => row.iter().for_each(|value| record.push_field(&value.to_string())),
        }
        if proba {
            row.iter().for_each(|value| record.push_field(&value.to_string()));
        }
        csv.write_record(&record).map_err(io)?;
    }
    csv.flush()
}

/// The error of the writer itself: whether a reader went away must be seen from its kind.
fn io(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_reader_that_went_away_is_known_as_one() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let predictions = Predictions { values: vec![0.5; 100_000], width: 1 };
        let kind = write(&mut Gone, &[], &predictions, false).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::BrokenPipe));
    }
}
