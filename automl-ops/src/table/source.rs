//! Where the bytes come from: opens a file, looks at its first bytes, and hands out readers over its plain text.
//!
//! A CSV file may be read twice (a column that turns out not to be numeric is read again), so a regular file is opened anew
//! each time and never held in memory; only a pipe is.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::DataError;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text with a delimiter.
    Delimited,
    /// `PAR1`.
    Parquet,
}

/// An opened file.
pub(super) struct Input {
    /// The path as given; used in messages.
    pub(super) file: String,
    /// What it holds.
    pub(super) format: Format,
    /// The first bytes of the text, after a byte-order mark.
    pub(super) head: Vec<u8>,
    /// Whether the text goes on after `head`, which then ends with a line (maybe one within quotes) if it has several.
    pub(super) cut: bool,
    source: Source,
    gzip: bool,
    mark: bool,
}

enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// How much of a file is looked at to find its format and delimiter.
const HEAD: u64 = 1 << 16;
const GZIP: &[u8] = b"\x1f\x8b";
const PARQUET: &[u8] = b"PAR1";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const SAVE_AS_CSV: &str = "export it as CSV";
const UNPACK: &str = "unpack it first";
/// First bytes of files that users hand in by mistake, with what they are and what to do.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "zstd data", UNPACK),
    (b"BZh", "bzip2 data", UNPACK),
    (b"\xfd7zXZ", "xz data", UNPACK),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
];

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = path.display().to_string();
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => DataError::NotFound { file: file.clone() },
            _ => DataError::Io { file: file.clone(), source },
        };
        let meta = std::fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            return Err(DataError::Directory { file });
        }
        if meta.is_file() {
            return Self::inspect(file, Source::File(path.to_owned()));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut pipe| pipe.read_to_end(&mut bytes)).map_err(io)?;
        Self::inspect(file, Source::Bytes(bytes))
    }

    #[cfg(test)]
    pub(super) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, DataError> {
        Self::inspect(name.to_owned(), Source::Bytes(bytes.to_vec()))
    }

    fn inspect(file: String, source: Source) -> Result<Self, DataError> {
        let mut input = Self { file, format: Format::Delimited, head: Vec::new(), cut: false, source, gzip: false, mark: false };
        let mut head = input.read_head()?;
        if head.starts_with(GZIP) {
            input.gzip = true;
            head = input.read_head()?;
        }
        if head.starts_with(PARQUET) {
            if input.gzip {
                return Err(input.refuse("Parquet inside gzip", "unpack it: Parquet is compressed already"));
            }
            input.format = Format::Parquet;
            return Ok(input);
        }
        if let Some((_, format, advice)) = OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
            return Err(input.refuse(format, advice));
        }
        input.cut = head.len() as u64 == HEAD;
        if head.starts_with(BYTE_ORDER_MARK) {
            input.mark = true;
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let first_line = head.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
        if first_line.is_some_and(|line| line.contains(&0)) {
            return Err(input.refuse("binary data or UTF-16 text", "save it as UTF-8 text"));
        }
        if first_line.is_some_and(|line| line.trim_ascii().len() > 9 && line.trim_ascii()[..9].eq_ignore_ascii_case(b"@relation"))
        {
            return Err(input.refuse("an ARFF file", SAVE_AS_CSV));
        }
        let line_end = |byte: &u8| *byte == b'\n' || *byte == b'\r';
        if input.cut
            && let Some(end) = head.iter().rposition(line_end)
        {
            head.truncate(end + 1);
        }
        input.head = head;
        Ok(input)
    }

    /// A reader over the plain text, from its start, without the byte-order mark.
    pub(super) fn reader(&self) -> Result<Box<dyn Read + '_>, DataError> {
        let mut reader: Box<dyn Read + '_> = match &self.source {
            Source::File(path) => Box::new(File::open(path).map_err(|error| self.io(error))?),
            Source::Bytes(bytes) => Box::new(Cursor::new(bytes.as_slice())),
        };
        if self.gzip {
            reader = Box::new(MultiGzDecoder::new(reader));
        }
        if self.mark {
            let mut mark = [0; BYTE_ORDER_MARK.len()];
            reader.read_exact(&mut mark).map_err(|error| self.io(error))?;
        }
        Ok(reader)
    }

    /// The file itself; `None` for a pipe.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Bytes(_) => None,
        }
    }

    /// The line, from 1, of the first byte at or after `offset` that does not end a line.
    ///
    /// The csv reader skips blank lines before it starts a record and does not count them; this does. It reads the file again,
    /// which only an error does.
    pub(super) fn line(&self, offset: u64) -> u64 {
        let Ok(reader) = self.reader() else { return 0 };
        let (mut line, mut position, mut before) = (1, 0, 0);
        for byte in io::BufReader::new(reader).bytes() {
            let Ok(byte) = byte else { break };
            if position >= offset && byte != b'\n' && byte != b'\r' {
                break;
            }
            line += u64::from(byte == b'\r' || (byte == b'\n' && before != b'\r'));
            before = byte;
            position += 1;
        }
        line
    }

    /// Whether the text from `offset` to its end has an odd number of double quotes.
    pub(super) fn odd_quotes(&self, offset: u64) -> Result<bool, DataError> {
        let mut reader = self.reader()?;
        io::copy(&mut reader.by_ref().take(offset), &mut io::sink()).map_err(|error| self.io(error))?;
        let (mut odd, mut chunk) = (false, vec![0; 1 << 16]);
        loop {
            let read = reader.read(&mut chunk).map_err(|error| self.io(error))?;
            if read == 0 {
                return Ok(odd);
            }
            odd ^= chunk[..read].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        }
    }

    /// The error for a failed read.
    pub(super) fn io(&self, source: io::Error) -> DataError {
        let file = self.file.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof if self.gzip => DataError::Gzip { file, what: "cut off before its end" },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.gzip => DataError::Gzip { file, what: "damaged" },
            _ => DataError::Io { file, source },
        }
    }

    fn read_head(&self) -> Result<Vec<u8>, DataError> {
        let mut head = Vec::new();
        self.reader()?.take(HEAD).read_to_end(&mut head).map_err(|error| self.io(error))?;
        Ok(head)
    }

    fn refuse(&self, format: &'static str, advice: &'static str) -> DataError {
        DataError::Format { file: self.file.clone(), format, advice }
    }
}
