//! A training on disk: parameters, buffers, moments of the optimizer, and how far it has come.
//!
//! A checkpoint is one safetensors file. It holds `parameter/NAME`, rows × columns, `buffer/NAME`, and `moment.INDEX/NAME`, all
//! 32-bit floats; one entry `automl` among its metadata says which optimizer took how many steps, and carries a text of the
//! caller's. What is read is the very bits that were written, so a training that is resumed goes on as if it had not stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use dfdx::shapes::HasShape;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Matrix, NnDevice, Optimizer, Params, values};

/// The entry of the metadata.
const KEY: &str = "automl";
/// What this program writes and reads.
const FORMAT: u32 = 1;

/// Why a checkpoint was not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The checkpoint.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is not a checkpoint of this network.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The checkpoint.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
}

/// The entry `automl`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u32,
    optimizer: Option<(String, u64)>,
    progress: String,
}

/// Writes a checkpoint, whole or not at all. `progress` is whatever the caller needs to go on, and comes back from [`load`].
///
/// # Errors
/// [`CheckpointError`], also where a number is not finite: nobody could go on from there.
pub fn save<D: NnDevice>(
    path: &Path,
    params: &Params<D>,
    optimizer: Option<&Optimizer<D>>,
    progress: &str,
) -> Result<(), CheckpointError> {
    let wrong = |problem: String| CheckpointError::Wrong { path: path.into(), problem };
    let other = |error: &dyn std::fmt::Display| wrong(error.to_string());
    let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut part = |name: String, shape: Vec<usize>, numbers: &[f32]| {
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(wrong(format!("`{name}` holds numbers that are not finite, so it is not saved")));
        }
        parts.push((name, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()));
        Ok(())
    };
    let matrix = |value: &Matrix<D>| vec![value.shape().0, value.shape().1];
    for (name, (value, _)) in params.names().zip(params.all()) {
        part(format!("parameter/{name}"), matrix(value), &values(value))?;
    }
    for (name, numbers) in params.buffers() {
        part(format!("buffer/{name}"), vec![numbers.len()], numbers)?;
    }
    for (name, moments) in params.names().zip(optimizer.map(Optimizer::moments).unwrap_or_default()) {
        for (index, moment) in moments.into_iter().enumerate() {
            part(format!("moment.{index}/{name}"), matrix(moment), &values(moment))?;
        }
    }
    let optimizer = optimizer.map(|optimizer| (optimizer.name().to_owned(), optimizer.steps()));
    let about = About { format: FORMAT, optimizer, progress: progress.to_owned() };
    let about = serde_json::to_string(&about).map_err(|error| other(&error))?;
    let views = parts.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(|error| other(&error))?;
    let bytes = safetensors::serialize(views, Some([(KEY.to_owned(), about)].into())).map_err(|error| other(&error))?;

    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| CheckpointError::Io { path: path.into(), source })
}

/// Puts a checkpoint into a network and an optimizer of the same sizes, and gives its `progress`. Where anything is wrong,
/// nothing is changed. Without an optimizer, moments in the file are left alone: for use after the training.
///
/// # Errors
/// [`CheckpointError`].
pub fn load<D: NnDevice>(
    path: &Path,
    params: &mut Params<D>,
    optimizer: Option<&mut Optimizer<D>>,
) -> Result<String, CheckpointError> {
    let bytes = fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    read(&bytes, params, optimizer).map_err(|problem| CheckpointError::Wrong { path: path.into(), problem })
}

/// The `progress` of a checkpoint, without its numbers: what says which network they belong to.
///
/// # Errors
/// [`CheckpointError`].
pub fn progress(path: &Path) -> Result<String, CheckpointError> {
    let bytes = fs::read(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    let about = about(&bytes).map_err(|problem| CheckpointError::Wrong { path: path.into(), problem })?;
    Ok(about.progress)
}

fn about(bytes: &[u8]) -> Result<About, String> {
    let no_file = |error: safetensors::SafeTensorError| format!("is no safetensors file: {error}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(no_file)?;
    let about = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let about = about.ok_or("is no checkpoint: it has no entry `automl` among its metadata")?;
    let about: About = serde_json::from_str(about).map_err(|error| format!("does not say what it holds: {error}"))?;
    if about.format != FORMAT {
        return Err(format!("has format {}; this program reads format {FORMAT}", about.format));
    }
    Ok(about)
}

fn read<D: NnDevice>(bytes: &[u8], params: &mut Params<D>, optimizer: Option<&mut Optimizer<D>>) -> Result<String, String> {
    let about = about(bytes)?;
    let no_file = |error: safetensors::SafeTensorError| format!("is no safetensors file: {error}");
    let file = SafeTensors::deserialize(bytes).map_err(no_file)?;
    let mut left: BTreeSet<String> = file.names().into_iter().map(ToString::to_string).collect();
    let mut found = BTreeMap::new();
    let mut check = |name: String, shape: &[usize]| {
        left.remove(&name);
        let numbers = floats(&file, &name, shape)?;
        found.insert(name, numbers);
        Ok::<_, String>(())
    };
    let names: Vec<String> = params.names().map(ToOwned::to_owned).collect();
    for (name, (value, _)) in names.iter().zip(params.all()) {
        check(format!("parameter/{name}"), &[value.shape().0, value.shape().1])?;
    }
    for (name, numbers) in params.buffers() {
        check(format!("buffer/{name}"), &[numbers.len()])?;
    }
    if let Some(optimizer) = &optimizer {
        let (name, _) = about.optimizer.as_ref().ok_or("holds no state of an optimizer")?;
        if name != optimizer.name() {
            return Err(format!("holds the state of `{name}`; the training uses `{}`", optimizer.name()));
        }
        for (name, moments) in names.iter().zip(optimizer.moments()) {
            for (index, moment) in moments.into_iter().enumerate() {
                check(format!("moment.{index}/{name}"), &[moment.shape().0, moment.shape().1])?;
            }
        }
    }
    if let Some(name) = left.iter().find(|name| optimizer.is_some() || !name.starts_with("moment.")) {
        return Err(format!("holds `{name}`, which the network does not have"));
    }

    let mut set = |name: String, value: &mut Matrix<D>| {
        if let Some(numbers) = found.remove(&name) {
            value.copy_from(&numbers);
        }
    };
    for (name, (value, _)) in names.iter().zip(params.each()) {
        set(format!("parameter/{name}"), value);
    }
    if let Some(optimizer) = optimizer {
        for (name, moments) in names.iter().zip(optimizer.moments_mut()) {
            moments.into_iter().enumerate().for_each(|(index, moment)| set(format!("moment.{index}/{name}"), moment));
        }
        optimizer.set_steps(about.optimizer.map_or(0, |(_, steps)| steps));
    }
    for (name, buffer) in params.buffers_mut() {
        if let Some(numbers) = found.remove(&format!("buffer/{name}")) {
            buffer.copy_from_slice(&numbers);
        }
    }
    Ok(about.progress)
}

/// The numbers of an array of a shape, if they are finite floats.
fn floats(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|_| format!("does not hold `{name}`"))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        return Err(format!("`{name}` is {:?} of {:?}; the network has 32-bit floats of {shape:?}", view.dtype(), view.shape()));
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(format!("`{name}` holds numbers that are not finite"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::Cpu;

    use super::super::{AdamW, AdamWSettings, Sgd, SgdSettings, backward, matrix, record};
    use super::*;

    fn network() -> Params<Cpu> {
        let mut params = Params::new(Cpu::default());
        params.add_named("conv.weight", [2, 3], (0..6).map(|x| 0.1 * x as f32 - 0.2).collect(), true).unwrap();
        params.add_named("head.bias", [1, 2], vec![0.3, -0.7], false).unwrap();
        params.add_buffer("norm.mean", vec![1.0, 2.0, 3.0]).unwrap();
        params
    }

    fn optimizers(params: &mut Params<Cpu>) -> [Optimizer<Cpu>; 2] {
        let sgd = Sgd::new(params, SgdSettings { nesterov: true, ..SgdSettings::default() }).unwrap();
        let adam = AdamW::new(params, AdamWSettings::default()).unwrap();
        [Optimizer::Sgd(sgd), Optimizer::AdamW(adam)]
    }

    fn train(params: &mut Params<Cpu>, optimizer: &mut Optimizer<Cpu>, steps: usize) {
        for _ in 0..steps {
            let [weight, bias] = ["conv.weight", "head.bias"].map(|name| params.get(params.find(name).unwrap()).clone());
            let zero = |rows, columns| matrix(&Cpu::default(), rows, columns, vec![0.25; rows * columns]).unwrap();
            let loss = |x: &Matrix<Cpu>, rows, columns| {
                super::super::NnDevice::squared_error(record(x.clone()), &zero(rows, columns), &zero(rows, columns)).unwrap()
            };
            let loss: crate::tensor::Scalar<Cpu, _> =
                super::super::sequence::both(loss(&weight, 2, 3), loss(&bias, 1, 2)).unwrap();
            optimizer.step(params, &mut backward(loss).unwrap(), 0.05).unwrap();
        }
    }

    fn bits(params: &Params<Cpu>) -> Vec<u32> {
        params.export().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_training_that_is_resumed_goes_on_as_if_it_had_not_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        for which in 0..2 {
            let mut params = network();
            let mut optimizer = optimizers(&mut params).into_iter().nth(which).unwrap();
            train(&mut params, &mut optimizer, 3);
            params.buffer_mut(params.find_buffer("norm.mean").unwrap())[1] = 7.5;
            save(&path, &params, Some(&optimizer), "epoch 3").unwrap();
            train(&mut params, &mut optimizer, 4);

            let mut resumed = network();
            let mut other = optimizers(&mut resumed).into_iter().nth(which).unwrap();
            assert_eq!(load(&path, &mut resumed, Some(&mut other)).unwrap(), "epoch 3");
            assert_eq!(resumed.buffer(resumed.find_buffer("norm.mean").unwrap()), [1.0, 7.5, 3.0]);
            train(&mut resumed, &mut other, 4);
            assert_eq!(bits(&params), bits(&resumed));
            assert_eq!(other.steps(), 7);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn files_that_are_no_checkpoint_of_the_network_are_refused_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        let mut params = network();
        let [mut sgd, mut adam] = optimizers(&mut params);
        let refused = |params: &mut Params<Cpu>, optimizer: Option<&mut Optimizer<Cpu>>, words: &str| {
            let before = bits(params);
            let error = load(&path, params, optimizer).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("last.safetensors"), "{error}");
            assert_eq!(bits(params), before);
        };
        refused(&mut params, None, "No such file");
        fs::write(&path, b"no checkpoint").unwrap();
        refused(&mut params, None, "no safetensors file");
        fs::write(&path, safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap()).unwrap();
        refused(&mut params, None, "no entry `automl`");

        save(&path, &params, None, "").unwrap();
        refused(&mut params, Some(&mut sgd), "no state of an optimizer");
        load(&path, &mut params, None).unwrap();
        save(&path, &params, Some(&sgd), "").unwrap();
        load(&path, &mut params, None).unwrap();
        refused(&mut params, Some(&mut adam), "holds the state of `sgd`");
        // Cut off anywhere, it is refused.
        let whole = fs::read(&path).unwrap();
        for end in (0..whole.len()).step_by(29) {
            fs::write(&path, &whole[..end]).unwrap();
            refused(&mut params, Some(&mut sgd), "no safetensors file");
        }
        fs::write(&path, &whole).unwrap();

        let mut more = network();
        more.add_named("extra", [1, 1], vec![0.0], true).unwrap();
        refused(&mut more, None, "does not hold `parameter/extra`");
        let mut fewer = Params::new(Cpu::default());
        fewer.add_named("conv.weight", [2, 3], vec![0.0; 6], true).unwrap();
        refused(&mut fewer, None, "which the network does not have");
        let mut other = Params::new(Cpu::default());
        other.add_named("conv.weight", [3, 2], vec![0.0; 6], true).unwrap();
        refused(&mut other, None, "[2, 3]");

        params.set(params.find("head.bias").unwrap(), &[f32::NAN, 0.0]).unwrap();
        let error = save(&path, &params, None, "").unwrap_err().to_string();
        assert!(error.contains("head.bias"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
