//! The model file: a zip of stored members with a manifest that names and hashes them. No code, ever.
//!
//! | member | holds |
//! |---|---|
//! | `manifest.json` | format, versions, operators with their crates, the hash of every other member |
//! | `model.json` | [`About`], and for each pipeline its genotype and the small values of each vertex |
//! | `state/P.V.safetensors` | the arrays of vertex `V` of pipeline `P` |
//!
//! A reader takes nothing on trust: member names are looked up, never extracted; sizes are capped before anything is
//! allocated; hashes are compared; and each operator checks the state that it is given.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use automl_core::Genotype;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{About, Members, Model, ModelError};
use crate::pipeline::Pipeline;
use crate::state::{Array, State};

const FORMAT: &str = "automl-model";
/// Version 2 added weights of pipelines and factors of classes.
const VERSION: u32 = 2;
/// Largest member and largest file that are read.
const MAX_BYTES: u64 = 8 << 30;
const MAX_JSON: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    /// The oldest format version whose readers understand this file.
    min_reader: u32,
    created_by: String,
    /// Operators used, with the crates that registered them.
    operators: BTreeMap<String, String>,
    /// blake3 of every other member.
    hashes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    about: About,
    #[serde(default)]
    pipelines: Vec<Stored>,
    /// One factor a class, or none.
    #[serde(default)]
    factors: Vec<f32>,
    #[serde(default)]
    constant: Option<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default = "one")]
    weight: f32,
    genotype: Genotype,
    values: Vec<serde_json::Map<String, serde_json::Value>>,
}

fn one() -> f32 {
    1.0
}

pub(super) fn write(model: &Model, path: &Path) -> Result<(), ModelError> {
    let io = |source| ModelError::Io { file: path.display().to_string(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".automl-");
    // Temporary files are private; a model is as open as any other file that the user makes.
    #[cfg(unix)]
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(mode);
    let mut temporary = builder.tempfile_in(folder).map_err(io)?;
    write_zip(model, BufWriter::new(temporary.as_file_mut())).map_err(io)?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    // The rename itself must reach the disk, too; not every system can open a folder.
    File::open(folder).and_then(|folder| folder.sync_all()).or(Ok(()))
}

/// Bytes of the file that [`write`] would make.
pub(super) fn bytes(model: &Model) -> std::io::Result<u64> {
    let mut counter = Counter::default();
    write_zip(model, &mut counter)?;
    Ok(counter.end)
}

/// Counts what is written to it, and keeps nothing.
#[derive(Default)]
struct Counter {
    at: u64,
    end: u64,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Counter {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.end, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = base.checked_add_signed(by).ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn write_zip(model: &Model, sink: impl Write + Seek) -> std::io::Result<()> {
    let mut zip = ZipWriter::new(sink);
    let mut hashes = BTreeMap::new();
    let mut operators = BTreeMap::new();
    let mut member = |zip: &mut ZipWriter<_>, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        // Stored on a fixed date: the same model is the same file, and reading needs no decompressor.
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(bytes.len() >= 1 << 31);
        zip.start_file(name, options)?;
        zip.write_all(bytes)?;
        hashes.insert(name.to_owned(), blake3::hash(bytes).to_hex().to_string());
        Ok(())
    };
    let mut stored = Vec::new();
    let (members, factors): (&[(f32, Pipeline)], &[f32]) = match &model.members {
        Members::Pipelines(members, factors) => (members, factors),
        Members::Constant(_) => (&[], &[]),
    };
    for (index, (weight, pipeline)) in members.iter().enumerate() {
        for (name, entry) in pipeline.operators() {
            operators.insert(name.to_owned(), format!("{} {}", entry.package, entry.version));
        }
        let mut values = Vec::new();
        for (vertex, state) in pipeline.save().into_iter().enumerate() {
            if !state.arrays.is_empty() {
                let tensors = state.arrays.iter().map(|(name, array)| (name.as_str(), Tensor::new(array)));
                let bytes = safetensors::serialize(tensors, None).map_err(std::io::Error::other)?;
                member(&mut zip, &tensor_member(index, vertex), &bytes)?;
            }
            values.push(state.values);
        }
        stored.push(Stored { weight: *weight, genotype: pipeline.genotype().clone(), values });
    }
    let constant = match &model.members {
        Members::Constant(values) => Some(values.clone()),
        Members::Pipelines(..) => None,
    };
    let contents = Contents { about: model.about.clone(), pipelines: stored, factors: factors.to_vec(), constant };
    member(&mut zip, "model.json", &serde_json::to_vec(&contents)?)?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        min_reader: VERSION,
        created_by: format!("automl {}", env!("CARGO_PKG_VERSION")),
        operators,
        hashes,
    };
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("manifest.json", options)?;
    zip.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
    zip.finish()?.flush()
}

fn tensor_member(pipeline: usize, vertex: usize) -> String {
    format!("state/{pipeline}.{vertex}.safetensors")
}

pub(super) fn read(path: &Path) -> Result<Model, ModelError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| ModelError::Io { file: name.clone(), source })?;
    let damaged = |problem: String| ModelError::Damaged { file: name.clone(), problem };
    let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| {
        damaged(format!("{error}; `automl fit` writes such files, and a copy that was cut off must be made again"))
    })?;
    let mut reader = Reader { zip, hashes: BTreeMap::new() };
    let manifest: Manifest =
        parse("manifest.json", &reader.bytes("manifest.json", MAX_JSON).map_err(damaged)?).map_err(damaged)?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("its format is `{}`, not `{FORMAT}`", manifest.format)));
    }
    if manifest.min_reader > VERSION {
        return Err(damaged(format!("it was written by {}, which is newer than this program; update it", manifest.created_by)));
    }
    reader.hashes = manifest.hashes;
    let contents: Contents = parse("model.json", &reader.checked("model.json", MAX_JSON).map_err(damaged)?).map_err(damaged)?;
    check(&contents).map_err(damaged)?;
    if let Some(values) = contents.constant {
        return Ok(Model { about: contents.about, members: Members::Constant(values) });
    }
    let (width, no_rows) = (contents.about.width(), contents.about.binding.no_rows());
    let mut pipelines = Vec::with_capacity(contents.pipelines.len());
    for (index, stored) in contents.pipelines.into_iter().enumerate() {
        let mut states = Vec::with_capacity(stored.values.len());
        for (vertex, values) in stored.values.into_iter().enumerate() {
            let arrays = reader.arrays(&tensor_member(index, vertex)).map_err(damaged)?;
            states.push(State { values, arrays });
        }
        let loaded = Pipeline::load(stored.genotype, &states, width);
        // Predicting no rows shows whether the vertices fit each other, the table and the labels.
        let checked = loaded.and_then(|pipeline| pipeline.predict(&no_rows, &automl_core::Cancel::new()).map(|_| pipeline));
        let pipeline = checked.map_err(|error| {
            damaged(format!("pipeline {index}: {error} (the file names these operators: {})", listed(&manifest.operators)))
        })?;
        pipelines.push((stored.weight, pipeline));
    }
    Ok(Model::ensemble(contents.about, pipelines, contents.factors))
}

fn listed(operators: &BTreeMap<String, String>) -> String {
    operators.iter().map(|(name, package)| format!("{name} of {package}")).collect::<Vec<_>>().join(", ")
}

fn parse<T: serde::de::DeserializeOwned>(member: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{member}: {error}"))
}

/// What must hold between the parts before a pipeline is built from them.
fn check(contents: &Contents) -> Result<(), String> {
    let about = &contents.about;
    let features = about.binding.schema.columns.len();
    if about.binding.offsets.len() != features || about.binding.fill.len() != features || features == 0 {
        return Err("the binding does not fit its columns".into());
    }
    if about.binding.offsets.iter().any(|offset| !offset.is_finite()) {
        return Err("an offset is not finite".into());
    }
    let classes = about.task == crate::metrics::Task::Classification;
    if classes != (about.labels.len() >= 2) || about.metric.task() != about.task {
        return Err("labels, metric and task do not fit together".into());
    }
    if contents.pipelines.iter().any(|stored| !(1e-6..=1e6).contains(&stored.weight)) {
        return Err("a pipeline's weight lies outside 1e-6 to 1e6".into());
    }
    let factors = &contents.factors;
    let fitting = factors.is_empty() || classes && factors.len() == about.width();
    if !fitting || factors.iter().any(|factor| !(1e-9..=1e9).contains(factor)) {
        return Err("the factors of the classes are no positive numbers, one a class".into());
    }
    match (&contents.constant, contents.pipelines.len()) {
        (Some(values), 0) if values.len() == about.width() && values.iter().all(|value| value.is_finite()) => Ok(()),
        (None, 1..=1_000) => Ok(()),
        _ => Err("it holds neither pipelines nor a constant prediction".into()),
    }
}

struct Reader<R: Read + Seek> {
    zip: ZipArchive<R>,
    hashes: BTreeMap<String, String>,
}

impl<R: Read + Seek> Reader<R> {
    fn bytes(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let member = self.zip.by_name(name).map_err(|error| format!("{name}: {error}"))?;
        if member.compression() != CompressionMethod::Stored {
            return Err(format!("{name}: members of a model file are stored, not compressed"));
        }
        let mut bytes = Vec::new();
        // The declared size may lie: read at most one byte more than allowed, growing as bytes arrive.
        member.take(most + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() as u64 > most { Err(format!("{name}: larger than {most} bytes")) } else { Ok(bytes) }
    }

    fn checked(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let bytes = self.bytes(name, most)?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        if self.hashes.get(name) == Some(&hash) {
            Ok(bytes)
        } else {
            Err(format!("{name}: its hash is not that of the manifest"))
        }
    }

    /// The arrays of a vertex; none where it has no such member.
    fn arrays(&mut self, name: &str) -> Result<BTreeMap<String, Array>, String> {
        if !self.hashes.contains_key(name) {
            return Ok(BTreeMap::new());
        }
        let bytes = self.checked(name, MAX_BYTES)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format!("{name}: {error}"))?;
        let mut arrays = BTreeMap::new();
        for (key, view) in tensors.iter() {
            let array = array_of(view.dtype(), view.data()).ok_or_else(|| format!("{name}: `{key}` has an unknown type"))?;
            arrays.insert(key.to_owned(), array);
        }
        Ok(arrays)
    }
}

fn array_of(dtype: Dtype, bytes: &[u8]) -> Option<Array> {
    fn read<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| from(*chunk)).collect()
    }
    Some(match dtype {
        Dtype::F32 => Array::F32(read(bytes, f32::from_le_bytes)),
        Dtype::F64 => Array::F64(read(bytes, f64::from_le_bytes)),
        Dtype::U32 => Array::U32(read(bytes, u32::from_le_bytes)),
        Dtype::U8 => Array::U8(bytes.to_vec()),
        _ => return None,
    })
}

/// An array as safetensors writes it: one dimension, little-endian.
struct Tensor<'a> {
    array: &'a Array,
    shape: [usize; 1],
}

impl<'a> Tensor<'a> {
    fn new(array: &'a Array) -> Self {
        let length = match array {
            Array::F32(values) => values.len(),
            Array::F64(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::U8(values) => values.len(),
        };
        Self { array, shape: [length] }
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.array {
            Array::F32(_) => Dtype::F32,
            Array::F64(_) => Dtype::F64,
            Array::U32(_) => Dtype::U32,
            Array::U8(_) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match self.array {
            Array::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::U32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::U8(values) => values.clone(),
        })
    }

    fn data_len(&self) -> usize {
        let [length] = self.shape;
        match self.array {
            Array::F64(_) => length * 8,
            Array::F32(_) | Array::U32(_) => length * 4,
            Array::U8(_) => length,
        }
    }
}
