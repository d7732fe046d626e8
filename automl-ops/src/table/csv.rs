//! Reads delimited text, plain or gzip.
//!
//! Cells go straight into columns, and none becomes a `String` of its own. Each column starts out as numbers; its first cell
//! that is neither a number nor missing turns it into interned strings. The first 64 KiB tell most such columns in advance. If
//! numbers came before that cell nevertheless, their spelling is lost, and the file is read once more for such columns alone:
//! two quick passes cost less than keeping the text of a million numbers.

use std::io::Read;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::convert::{self, Context, Missing, Raw, Strings, Want};
use super::source::Input;
use super::{DataError, MISSING, ReadOptions, Schema, Table, sniff, wanted};

/// Reads the columns of a delimited file; all of them without a schema.
pub(super) fn read(input: &Input, schema: Option<&Schema>, options: &ReadOptions) -> Result<Table, DataError> {
    let mut warnings = Vec::new();
    let layout = Layout::find(input, options, &mut warnings)?;
    let wants = wanted(&input.file, &layout.names, schema, options)?;
    let missing = Missing::new(&options.missing);

    let mut cells: Vec<Cells> = layout.names.iter().map(|_| Cells::Skipped).collect();
    for (position, want) in &wants {
        cells[*position] = Cells::new(*want);
    }
    layout.look_ahead(input, &missing, &mut cells);
    let rows = layout.pass(input, &missing, &mut cells)?;
    if rows == 0 {
        return Err(DataError::NoRows { file: input.file.clone(), columns: layout.names.len() });
    }
    let lost = |cells: &Cells| matches!(cells, Cells::Lost);
    if cells.iter().any(lost) {
        let again = |cells: &Cells| {
            if lost(cells) { Cells::Strings(Strings::default()) } else { Cells::Skipped }
        };
        let mut found: Vec<Cells> = cells.iter().map(again).collect();
        layout.pass(input, &missing, &mut found)?;
        for (cells, found) in cells.iter_mut().zip(found).filter(|(cells, _)| lost(cells)) {
            *cells = found;
        }
    }

    let place = |row| format!("line {}", layout.line_of(input, row));
    let mut columns = Vec::with_capacity(wants.len());
    for (position, want) in wants {
        let raw = std::mem::replace(&mut cells[position], Cells::Skipped).into_raw();
        let mut cx = Context {
            file: &input.file,
            column: &layout.names[position],
            missing: &missing,
            place: &place,
            warnings: &mut warnings,
        };
        let column = convert::finish(raw, want, &mut cx)?;
        if column.data.len() != rows {
            return Err(input.io(std::io::Error::other("the file changed while it was read")));
        }
        columns.push(column);
    }
    Ok(Table { name: input.file.clone(), columns, rows, warnings })
}

/// Names and delimiter of a file.
struct Layout {
    names: Vec<String>,
    delimiter: u8,
}

/// The cells of one column so far.
enum Cells {
    /// Nobody wants them.
    Skipped,
    /// Numbers, and `NaN` for missing values.
    Numbers {
        values: Vec<f64>,
        /// Cells so far that are not missing tokens.
        present: usize,
        infinite: usize,
        unparsed: usize,
        text: OnText,
    },
    /// Anything, empty cells as [`MISSING`].
    Strings(Strings),
    /// Strings whose first cells are gone.
    Lost,
}

/// What a column of numbers does at a cell that is not one.
#[derive(Clone, Copy)]
enum OnText {
    Become,
    Refuse,
    Skip,
}

/// Why a cell is not taken.
enum Refused {
    NotUtf8(u8),
    NotNumber,
}

impl Layout {
    fn find(input: &Input, options: &ReadOptions, warnings: &mut Vec<String>) -> Result<Self, DataError> {
        let delimiter = options.delimiter.unwrap_or_else(|| sniff::delimiter(&input.head, &input.file, input.cut));
        let mut layout = Self { names: Vec::new(), delimiter };
        let (mut reader, mut record) = (layout.reader(input)?, ByteRecord::new());
        if !next(input, &mut reader, &mut record)? {
            return Err(DataError::Empty { file: input.file.clone() });
        }
        let mut header = Vec::with_capacity(record.len());
        for (position, cell) in record.iter().enumerate() {
            let name = std::str::from_utf8(cell.trim_ascii()).map_err(|error| DataError::NotUtf8 {
                file: input.file.clone(),
                line: input.line(offset(&record)),
                column: format!("column_{}", position + 1),
                byte: cell.trim_ascii().get(error.valid_up_to()).copied().unwrap_or(0),
            })?;
            header.push(name.to_owned());
        }
        layout.names = sniff::names(header, &input.file, warnings);
        Ok(layout)
    }

    fn reader<'a>(&self, input: &'a Input) -> Result<Reader<Box<dyn Read + 'a>>, DataError> {
        Ok(self.builder().buffer_capacity(1 << 18).from_reader(input.reader()?))
    }

    fn builder(&self) -> ReaderBuilder {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).has_headers(false).flexible(true);
        builder
    }

    /// Reads all rows into `cells`, one entry a column of the file, and returns their number.
    fn pass(&self, input: &Input, missing: &Missing, cells: &mut [Cells]) -> Result<usize, DataError> {
        let (mut reader, mut record) = (self.reader(input)?, ByteRecord::new());
        next(input, &mut reader, &mut record)?;
        let mut rows = 0;
        // Where the last record starts, if it has several lines.
        let mut several = None;
        while next(input, &mut reader, &mut record)? {
            several = record.as_slice().contains(&b'\n').then(|| offset(&record));
            if record.len() != self.names.len() {
                return Err(self.ragged(input, &record));
            }
            for (position, (cells, cell)) in cells.iter_mut().zip(&record).enumerate() {
                cells.push(cell.trim_ascii(), missing).map_err(|refused| {
                    let (file, line) = (input.file.clone(), input.line(offset(&record)));
                    let column = self.names[position].clone();
                    match refused {
                        Refused::NotUtf8(byte) => DataError::NotUtf8 { file, line, column, byte },
                        Refused::NotNumber => Context {
                            file: &file,
                            column: &column,
                            missing,
                            place: &|_| format!("line {line}"),
                            warnings: &mut Vec::new(),
                        }
                        .bad_value(rows, &String::from_utf8_lossy(cell.trim_ascii()), "a number"),
                    }
                })?;
            }
            rows += 1;
        }
        // The csv reader takes the end of the file for the missing quote, which would swallow all rows after it unnoticed.
        if let Some(start) = several
            && input.odd_quotes(start)?
        {
            return Err(DataError::Quote { file: input.file.clone(), line: input.line(start) });
        }
        Ok(rows)
    }

    /// Makes strings of the columns that the head of the file already shows not to be numbers, which spares most files the second
    /// pass. Whatever is wrong with the head, the pass will tell.
    ///
    /// A head that is cut ends with a line, so that no number is mistaken for a word because half of it is missing.
    fn look_ahead(&self, input: &Input, missing: &Missing, cells: &mut [Cells]) {
        let mut reader = self.builder().from_reader(input.head.as_slice());
        let mut record = ByteRecord::new();
        let mut seen: Vec<Cells> = cells.iter().map(Cells::emptied).collect();
        let mut records = 0;
        while reader.read_byte_record(&mut record).unwrap_or(false) {
            if records > 0 && record.len() == cells.len() {
                for (seen, cell) in seen.iter_mut().zip(&record) {
                    let _ = seen.push(cell.trim_ascii(), missing);
                }
            }
            records += 1;
        }
        for (cells, seen) in cells.iter_mut().zip(seen) {
            if matches!(seen, Cells::Strings(_) | Cells::Lost) {
                *cells = Cells::Strings(Strings::default());
            }
        }
    }

    /// The line, from 1, of a row, from 0. Reads the file again, which only an error does.
    fn line_of(&self, input: &Input, row: usize) -> u64 {
        let Ok(mut reader) = self.reader(input) else {
            return 0;
        };
        let mut record = ByteRecord::new();
        for _ in 0..row + 2 {
            if !next(input, &mut reader, &mut record).unwrap_or(false) {
                return 0;
            }
        }
        input.line(offset(&record))
    }

    fn ragged(&self, input: &Input, record: &ByteRecord) -> DataError {
        let has = |what: &dyn Fn(&[u8]) -> bool| record.iter().any(what);
        let advice = if has(&|cell| cell.contains(&b'\n')) {
            "a quote that opens in this line may never close"
        } else if has(&|cell| cell.first() == Some(&b' ') && cell.trim_ascii().first() == Some(&b'"')) {
            "remove the space between the delimiter and the quote"
        } else if record.len() == self.names.len() + 1 {
            "put values that contain the delimiter in double quotes, or name the additional column in the header"
        } else {
            "put values that contain the delimiter in double quotes, or set the delimiter"
        };
        DataError::Ragged {
            file: input.file.clone(),
            line: input.line(offset(record)),
            expected: self.names.len(),
            found: record.len(),
            delimiter: match self.delimiter {
                b'\t' => "tab".to_owned(),
                byte => format!("`{}`", char::from(byte)),
            },
            advice,
        }
    }
}

impl Cells {
    fn new(want: Want<'_>) -> Self {
        let text = match want {
            Want::Inferred => OnText::Become,
            Want::Demanded(super::ColumnType::Numeric) => OnText::Refuse,
            Want::Known(known) if known.kind == super::ColumnType::Numeric => OnText::Skip,
            Want::Demanded(_) | Want::Known(_) => return Self::Strings(Strings::default()),
        };
        Self::Numbers { values: Vec::new(), present: 0, infinite: 0, unparsed: 0, text }
    }

    /// The same kind of column without its cells; one that is not to become strings is skipped.
    fn emptied(&self) -> Self {
        match self {
            Self::Numbers { text: OnText::Become, .. } => Self::new(Want::Inferred),
            _ => Self::Skipped,
        }
    }

    fn push(&mut self, cell: &[u8], missing: &Missing) -> Result<(), Refused> {
        match self {
            Self::Skipped | Self::Lost => {}
            Self::Strings(strings) => strings.push(cell)?,
            Self::Numbers { values, present, infinite, unparsed, text } => {
                if cell.is_empty() || (missing.numeric && missing.contains(cell)) {
                    values.push(f64::NAN);
                    return Ok(());
                }
                match fast_float2::parse::<f64, _>(cell) {
                    Ok(value) if value.is_finite() => {
                        *present += 1;
                        values.push(value);
                    }
                    _ if missing.contains(cell) => values.push(f64::NAN),
                    Ok(value) => {
                        *present += 1;
                        *infinite += usize::from(value.is_infinite());
                        values.push(f64::NAN);
                    }
                    Err(_) => match text {
                        OnText::Refuse => return Err(Refused::NotNumber),
                        OnText::Skip => {
                            *unparsed += 1;
                            values.push(f64::NAN);
                        }
                        OnText::Become if *present > 0 => *self = Self::Lost,
                        OnText::Become => {
                            let mut strings = Strings { codes: vec![MISSING; values.len()], ..Strings::default() };
                            strings.push(cell)?;
                            *self = Self::Strings(strings);
                        }
                    },
                }
            }
        }
        Ok(())
    }

    fn into_raw(self) -> Raw {
        match self {
            Self::Numbers { values, infinite, unparsed, .. } => Raw::Numbers { values, infinite, unparsed },
            Self::Strings(strings) => Raw::Strings(strings),
            Self::Skipped | Self::Lost => Raw::Strings(Strings::default()),
        }
    }
}

impl Strings {
    fn push(&mut self, cell: &[u8]) -> Result<(), Refused> {
        let code = if cell.is_empty() {
            MISSING
        } else {
            let refuse = |error: std::str::Utf8Error| Refused::NotUtf8(cell.get(error.valid_up_to()).copied().unwrap_or(0));
            self.dictionary.intern(cell).map_err(refuse)?
        };
        self.codes.push(code);
        Ok(())
    }
}

/// The next record that is not blank; `false` at the end. The csv reader skips empty lines but not lines of spaces.
fn next(input: &Input, reader: &mut Reader<impl Read>, record: &mut ByteRecord) -> Result<bool, DataError> {
    loop {
        match reader.read_byte_record(record) {
            Ok(true) if record.len() == 1 && record.get(0).is_some_and(is_blank) => {}
            Ok(more) => return Ok(more),
            Err(error) => {
                return Err(match error.into_kind() {
                    csv::ErrorKind::Io(error) => input.io(error),
                    other => input.io(std::io::Error::other(format!("{other:?}"))),
                });
            }
        }
    }
}

fn is_blank(cell: &[u8]) -> bool {
    !cell.is_empty() && cell.trim_ascii().is_empty()
}

/// Where a record starts, or the line breaks before it.
fn offset(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::byte)
}
