//! The journal of a study: one JSON object a line, written as trials end.
//!
//! The first line is a header with what defines the study; the rest are trials in the order in which they ended, and marks
//! that say where a session stopped. Since strategies are pure, the journal is the whole state: resume is replay. A line is
//! handed to the operating system in one write before the next proposal is made, so a killed process loses nothing but the
//! trials in flight; the file is synced to the disk about once a second, and at the end.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::trial::Trial;

/// Version of the format; a reader refuses a later one.
const FORMAT: u32 = 1;

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub automl_journal: u32,
    /// The resolved config of the study, as its owner writes it.
    pub config: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The study ended here: trials from `end` on do not count, unless it is resumed.
    End {
        end: u64,
    },
    Trial(Box<Trial>),
}

/// A journal file, open for appending and locked against a second process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// What a journal holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The first line.
    pub header: Header,
    /// Every finished trial by its id, those beyond the end of a session included.
    pub trials: BTreeMap<u64, Trial>,
    /// Number of trials that count, if the last session ended by itself.
    pub end: Option<u64>,
}

impl Contents {
    /// The trials that count, in the order of their ids.
    pub fn counting(&self) -> impl Iterator<Item = &Trial> {
        let end = self.end.unwrap_or(u64::MAX);
        self.trials.values().filter(move |trial| trial.id < end)
    }
}

impl Journal {
    /// Starts a journal.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists already: a journal is never overwritten.
    pub fn create(path: impl Into<PathBuf>, config: serde_json::Value) -> Result<Self> {
        let path = path.into();
        let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(|error| Error::io(&path, error))?;
        let mut journal = Self { path, file };
        journal.lock()?;
        journal.write(&Header { automl_journal: FORMAT, config })?;
        journal.sync()?;
        Ok(journal)
    }

    /// Opens a journal to go on with it; a last line that a crash cut short is removed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Journal`] at the line that does not read.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Contents)> {
        let path = path.into();
        let file = OpenOptions::new().read(true).append(true).open(&path).map_err(|error| Error::io(&path, error))?;
        let mut journal = Self { path, file };
        journal.lock()?;
        let (contents, whole) = read(&journal.path)?;
        journal.file.set_len(whole).map_err(|error| Error::io(&journal.path, error))?;
        journal.file.seek(SeekFrom::End(0)).map_err(|error| Error::io(&journal.path, error))?;
        Ok((journal, contents))
    }

    /// Reads a journal, also one that another process is writing.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
        read(path.as_ref()).map(|(contents, _)| contents)
    }

    /// Appends a finished trial.
    ///
    /// # Errors
    /// [`Error::Io`], such as a full disk.
    pub fn append(&mut self, trial: &Trial) -> Result<()> {
        self.write(trial)
    }

    /// Notes that the study ended with this many trials.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end(&mut self, end: u64) -> Result<()> {
        self.write(&Line::End { end })?;
        self.sync()
    }

    /// Makes sure that what was written survives a power cut.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(&self.path, error))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| Error::io(&self.path, error.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(|error| Error::io(&self.path, error))
    }

    fn lock(&mut self) -> Result<()> {
        self.file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::io(
                &self.path,
                std::io::Error::other("another process is writing this run; wait for it, or choose another run directory"),
            ),
            std::fs::TryLockError::Error(error) => Error::io(&self.path, error),
        })
    }
}

/// The contents, and the length of the part that ends in a whole line.
fn read(path: &Path) -> Result<(Contents, u64)> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let fail = |line: usize, problem: String| Error::Journal { path: path.to_owned(), line, problem };
    let mut reader = BufReader::new(file);
    let (mut header, mut trials, mut end) = (None, BTreeMap::new(), None);
    let (mut bytes, mut whole) = (Vec::new(), 0_u64);
    for number in 1.. {
        bytes.clear();
        let length = reader.read_until(b'\n', &mut bytes).map_err(|error| Error::io(path, error))?;
        if bytes.last() != Some(&b'\n') {
            // The end of the file, or a line that a crash cut short.
            break;
        }
        if header.is_none() {
            let first: Header = serde_json::from_slice(&bytes).map_err(|error| {
                fail(number, format!("this is not a journal of automl ({error}); give the directory of a run"))
            })?;
            if first.automl_journal > FORMAT {
                return Err(fail(number, format!("format {} is newer than this program; update it", first.automl_journal)));
            }
            header = Some(first);
        } else {
            match serde_json::from_slice(&bytes) {
                Ok(Line::Trial(trial)) => {
                    end = end.filter(|_| trials.contains_key(&trial.id));
                    trials.insert(trial.id, *trial);
                }
                Ok(Line::End { end: count }) => end = Some(count),
                Err(error) => {
                    return Err(fail(
                        number,
                        format!(
                            "the record is damaged ({error}); remove the lines from here on to resume from what stands before"
                        ),
                    ));
                }
            }
        }
        whole += length as u64;
    }
    let header = header.ok_or_else(|| fail(1, "the file is empty: the run ended before it began; start a new one".into()))?;
    Ok((Contents { header, trials, end }, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genotype::{Genotype, Node};
    use crate::strategy::Origin;
    use crate::trial::State;

    fn trial(id: u64, loss: f64) -> Trial {
        Trial {
            id,
            state: State::Complete,
            losses: vec![loss],
            metrics: [("accuracy".to_owned(), -loss)].into(),
            genotype: Genotype { nodes: vec![Node::new("a", []).with("x", loss)] },
            origin: Origin { by: "random".into(), parents: vec![0], note: None },
            fidelity: 1.0,
            steps: vec![0.5, loss],
            duplicate_of: None,
            reason: None,
            seconds: 0.1,
        }
    }

    #[test]
    fn reads_back_what_was_written_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::create(&path, serde_json::json!({"seed": 1})).unwrap();
        let trials = [trial(1, 0.1 + 0.2), trial(0, -1e-300)];
        trials.iter().for_each(|trial| journal.append(trial).unwrap());
        journal.end(2).unwrap();
        let contents = Journal::read(&path).unwrap();
        assert_eq!(contents.header.config, serde_json::json!({"seed": 1}));
        assert_eq!(contents.end, Some(2));
        assert_eq!(contents.counting().cloned().collect::<Vec<_>>(), [trials[1].clone(), trials[0].clone()]);
    }

    #[test]
    fn a_line_cut_short_is_dropped_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::create(&path, serde_json::Value::Null).unwrap();
        journal.append(&trial(0, 0.5)).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend_from_slice(b"{\"id\":1,\"state\":\"comp");
        std::fs::write(&path, &torn).unwrap();
        let (mut journal, contents) = Journal::open(&path).unwrap();
        assert_eq!(contents.trials.len(), 1);
        journal.append(&trial(1, 0.25)).unwrap();
        drop(journal);
        assert_eq!(Journal::read(&path).unwrap().trials.len(), 2);

        let damaged = [b"nonsense\n", &whole[..]].concat();
        std::fs::write(&path, damaged).unwrap();
        assert!(Journal::read(&path).unwrap_err().to_string().contains(":1:"));
    }

    #[test]
    fn a_second_writer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let _journal = Journal::create(&path, serde_json::Value::Null).unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("another process"));
        assert!(Journal::create(&path, serde_json::Value::Null).is_err());
    }
}
