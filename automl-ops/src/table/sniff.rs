//! Finds the delimiter of a text file, and names for its columns.

use std::collections::BTreeSet;

use csv::{ByteRecord, ReaderBuilder};

/// Delimiters that are tried, in order of preference.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records that are looked at.
const RECORDS: usize = 50;

/// The delimiter under which most of the first records have as many fields as the header, and the header more than one. Of
/// equals, the one with more fields. A file named `.tsv` or `.tab` is tab-delimited if its header has a tab.
///
/// `cut` says that `head` may end within a record.
pub(super) fn delimiter(head: &[u8], name: &str, cut: bool) -> u8 {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let tabs = name.ends_with(".tsv") || name.ends_with(".tab");
    if tabs && fit(head, b'\t', cut).is_some() {
        return b'\t';
    }
    // The first of equals wins: `max_by_key` would take the last.
    let mut best = (b',', None);
    for candidate in CANDIDATES {
        let fit = fit(head, candidate, cut);
        if fit > best.1 {
            best = (candidate, fit);
        }
    }
    best.0
}

/// Share of records (in thousandths) with as many fields as the header, and that number; `None` if the header has one field.
fn fit(head: &[u8], delimiter: u8, cut: bool) -> Option<(usize, usize)> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(head);
    let mut record = ByteRecord::new();
    let mut fields = Vec::new();
    while fields.len() <= RECORDS && reader.read_byte_record(&mut record).unwrap_or(false) {
        if record.iter().any(|field| !field.trim_ascii().is_empty()) {
            fields.push(record.len());
        }
    }
    if cut && fields.len() > 1 && fields.len() <= RECORDS {
        fields.pop();
    }
    let header = *fields.first().filter(|fields| **fields > 1)?;
    let alike = fields.iter().filter(|fields| **fields == header).count();
    Some((alike * 1000 / fields.len(), header))
}

/// Unique names for the columns of a header: an empty one is named by its position (`column_3`), a repeated one numbered
/// (`x.2`), each with a warning.
pub(super) fn names(header: Vec<String>, file: &str, warnings: &mut Vec<String>) -> Vec<String> {
    let looks_like_data = header.len() > 1
        && header.iter().all(|name| name.parse::<f64>().is_ok())
        && (header.iter().any(|name| name.contains('.')) || header.iter().collect::<BTreeSet<_>>().len() < header.len());
    if looks_like_data {
        warnings
            .push(format!("{file}: the first line is taken as the header but looks like data; add a line with the column names"));
    }
    let given: BTreeSet<String> = header.iter().cloned().collect();
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    let mut used = BTreeSet::new();
    for (position, name) in header.into_iter().enumerate() {
        let base = if name.is_empty() { format!("column_{}", position + 1) } else { name.clone() };
        let free = |candidate: &String| !used.contains(candidate) && (*candidate == name || !given.contains(candidate));
        let numbered = (2_usize..).map(|number| format!("{base}.{number}"));
        // Numbers are endless, so there always is a free one.
        let chosen = std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base);
        if name.is_empty() {
            warnings.push(format!("{file}: column {} has no name and is called `{chosen}`", position + 1));
        } else if chosen != name {
            let first = names.iter().position(|other| *other == name).unwrap_or(0);
            warnings.push(format!(
                "{file}: columns {} and {} are both named `{name}`; the second is called `{chosen}`",
                first + 1,
                position + 1
            ));
        }
        used.insert(chosen.clone());
        names.push(chosen);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters() {
        assert_eq!(delimiter(b"a,b\n1,2\n", "x.csv", false), b',');
        assert_eq!(delimiter(b"a;b\n1,5;2,5\n", "x.csv", false), b';');
        assert_eq!(delimiter(b"a\tb\n1,5\t2,5\n", "x.csv", false), b'\t');
        assert_eq!(delimiter(b"a|b\n1|2\n", "x", false), b'|');
        assert_eq!(delimiter(b"a\n1,5\n", "x.csv", false), b',');
        assert_eq!(delimiter(b"a b,c\n1,2\n", "x.TSV.gz", false), b',');
        assert_eq!(delimiter(b"a,b\tc\n1\t2\n", "x.tsv.gz", false), b'\t');
        assert_eq!(delimiter(b"\"a;b;c\",d\n1,2\n3,\"4;;", "x", true), b',');
    }

    #[test]
    fn names_become_unique() {
        let mut warnings = Vec::new();
        let header = ["x", "", "x", "x.2", "x"].map(str::to_owned).to_vec();
        assert_eq!(names(header, "f.csv", &mut warnings), ["x", "column_2", "x.3", "x.2", "x.4"]);
        assert_eq!(warnings.len(), 3);
        assert_eq!(warnings[1], "f.csv: columns 1 and 3 are both named `x`; the second is called `x.3`");
    }

    #[test]
    fn a_missing_header_is_noticed() {
        let mut warnings = Vec::new();
        names(["1.5", "2"].map(str::to_owned).to_vec(), "f.csv", &mut warnings);
        assert!(warnings[0].contains("looks like data"));
        warnings.clear();
        names(["1", "2"].map(str::to_owned).to_vec(), "f.csv", &mut warnings);
        assert!(warnings.is_empty());
    }
}
