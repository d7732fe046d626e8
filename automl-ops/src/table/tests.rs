//! Reading of delimited files, by way of the public functions.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

mod any_bytes;
mod real_sets;

fn read_text(text: &str) -> Result<Table, DataError> {
    read_bytes(text.as_bytes(), &ReadOptions::default())
}

fn read_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Table, DataError> {
    dispatch(Input::from_bytes("t.csv", bytes)?, None, options)
}

fn with_schema(text: &str, schema: &Schema) -> Result<Table, DataError> {
    dispatch(Input::from_bytes("new.csv", text.as_bytes())?, Some(schema), &ReadOptions::default())
}

fn data(text: &str) -> ColumnData {
    read_text(text).unwrap().columns.remove(0).data
}

fn message(text: &str) -> String {
    read_text(text).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Numbers with `NaN` as `None`, which equals itself.
fn numbers(data: &ColumnData) -> Vec<Option<f64>> {
    match data {
        ColumnData::Numeric(values) | ColumnData::DateTime(values) => {
            values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn category(data: &ColumnData) -> (Vec<u32>, Vec<&str>) {
    match data {
        ColumnData::Category { codes, levels } => (codes.clone(), levels.iter().map(String::as_str).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn types_are_inferred_from_all_values() {
    let text = "n,b,c,d,m\n1,yes,x,2020-01-31,1\n-2.5e1,No,y,2020-02-01 12:00,2\n,NA,,?,a\n+3,YES,x,1970-01-01T00:00:01Z,2\n";
    let table = read_text(text).unwrap();
    assert_eq!(table.rows, 4);
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    let column = |name| &table.column(name).unwrap().data;
    assert_eq!(numbers(column("n")), [Some(1.0), Some(-25.0), None, Some(3.0)]);
    assert_eq!(*column("b"), ColumnData::Boolean(vec![Some(true), Some(false), None, Some(true)]));
    assert_eq!(category(column("c")), (vec![0, 1, MISSING, 0], vec!["x", "y"]));
    assert_eq!(numbers(column("d")), [Some(1_580_428_800.0), Some(1_580_558_400.0), None, Some(1.0)]);
    assert_eq!(column("d").kind(), ColumnType::DateTime);
    // Numbers first, a word later: the spelling of the numbers is kept.
    assert_eq!(category(column("m")), (vec![0, 1, 2, 1], vec!["1", "2", "a"]));
    assert_eq!(column("c").missing(), 1);
}

#[test]
fn zero_and_one_are_numbers_and_lone_letters_are_categories() {
    assert_eq!(data("x\n0\n1\n").kind(), ColumnType::Numeric);
    assert_eq!(data("x\nT\nF\n").kind(), ColumnType::Boolean);
    assert_eq!(data("x\nF\nF\n").kind(), ColumnType::Category);
    assert_eq!(data("x\nyes\ntrue\n").kind(), ColumnType::Category);
    assert_eq!(data("x\nNo\n\"\"\n").kind(), ColumnType::Boolean);
}

#[test]
fn many_short_strings_are_categories_and_many_long_ones_text() {
    let rows = |line: &dyn Fn(usize) -> String| (0..200).map(|i| line(i) + "\n").collect::<String>();
    assert_eq!(data(&format!("x\n{}", rows(&|i| format!("id-{i}")))).kind(), ColumnType::Category);
    assert_eq!(data(&format!("x\n{}", rows(&|i| format!("the {i}th long tale")))).kind(), ColumnType::Text);
    assert_eq!(data(&format!("x\n{}", rows(&|i| format!("one of few {}", i % 9)))).kind(), ColumnType::Category);
    let text = data(&format!("x\n{}NA\n", rows(&|i| format!("the {}th long tale", i % 150))));
    let ColumnData::Text(texts) = text else { panic!("{text:?}") };
    assert_eq!(texts[3].as_deref(), Some("the 3th long tale"));
    assert_eq!(texts[200], None);
    assert!(Arc::ptr_eq(texts[3].as_ref().unwrap(), texts[153].as_ref().unwrap()));
}

#[test]
fn dates_with_the_year_last_need_a_settled_order() {
    let table = read_text("d\n01/02/2020\n31/12/2020\n").unwrap();
    assert_eq!(table.columns[0].date_order, Some(DateOrder::DayMonth));
    assert_eq!(numbers(&table.columns[0].data), [Some(1_580_515_200.0), Some(1_609_372_800.0)]);
    assert_eq!(read_text("d\n12/31/2020\n").unwrap().columns[0].date_order, Some(DateOrder::MonthDay));
    let open = read_text("d\n01/02/2020\n").unwrap();
    assert_eq!(open.columns[0].data.kind(), ColumnType::Category);
    assert!(open.warnings[0].contains("YYYY-MM-DD"));
    assert_eq!(data("d\n31/12/2020\n12/31/2020\n").kind(), ColumnType::Category);
    // What training settled holds for a file that would leave it open.
    let later = with_schema("d\n01/02/2020\n", &table.schema()).unwrap();
    assert_eq!(numbers(&later.columns[0].data), [Some(1_580_515_200.0)]);
}

#[test]
fn spaces_quotes_line_ends_and_the_byte_order_mark() {
    let text = "\u{feff}\"a\" , b\r\n 1 ,\" x \"\r\n\r\n2,\"say \"\"hi\"\",\nand go\"\r\n   \r\n3,z\r\n\r\n";
    let table = read_text(text).unwrap();
    assert_eq!(table.columns[0].name, "a");
    assert_eq!(numbers(&table.column("a").unwrap().data), [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(category(&table.column("b").unwrap().data).1, ["say \"hi\",\nand go", "x", "z"]);
}

#[test]
fn delimiters_are_found_or_given() {
    for text in ["a;b\n1;x,y\n", "a\tb\n1\tx,y\n", "a,b\n1,\"x,y\"\n"] {
        let table = read_text(text).unwrap();
        assert_eq!(category(&table.columns[1].data).1, ["x,y"], "{text:?}");
    }
    let options = ReadOptions { delimiter: Some(b':'), ..ReadOptions::default() };
    assert_eq!(read_bytes(b"a:b\n1:2\n", &options).unwrap().columns.len(), 2);
}

#[test]
fn decimal_commas_are_noticed() {
    let table = read_text("a;b\n1,5;x\n2;y\n").unwrap();
    assert_eq!(table.columns[0].data.kind(), ColumnType::Category);
    assert!(table.warnings[0].contains("column `a`: the values look like numbers with a comma"));
    assert_eq!(table.warnings.len(), 1);
}

#[test]
fn odd_headers_are_repaired_with_a_warning() {
    let table = read_text("x,,x\n1,2,3\n").unwrap();
    assert_eq!(table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["x", "column_2", "x.2"]);
    assert_eq!(table.warnings.len(), 2);
    assert!(table.warnings[1].contains("columns 1 and 3 are both named `x`"));
}

#[test]
fn infinite_numbers_are_missing_with_a_warning() {
    let table = read_text("x\n1\ninf\n-inf\n1e999\n").unwrap();
    assert_eq!(numbers(&table.columns[0].data), [Some(1.0), None, None, None]);
    assert_eq!(table.warnings, ["t.csv, column `x`: 3 infinite value(s) read as missing"]);
}

#[test]
fn missing_tokens_have_a_list_that_can_be_replaced() {
    let text = MISSING_TOKENS.map(|token| format!("{token},a\n")).concat();
    let table = read_text(&format!("x,y\n{text}5,NaN\n")).unwrap();
    assert_eq!(numbers(&table.columns[0].data).iter().flatten().collect::<Vec<_>>(), [&5.0]);
    assert_eq!(table.columns[1].data.missing(), 1);

    let options = ReadOptions { missing: vec!["-999".to_owned(), "none".to_owned()], ..ReadOptions::default() };
    let table = read_bytes(b"x,y\n-999,none\n1,NA\n,\n", &options).unwrap();
    assert_eq!(numbers(&table.columns[0].data), [None, Some(1.0), None]);
    assert_eq!(category(&table.columns[1].data), (vec![MISSING, 0, MISSING], vec!["NA"]));
    assert_eq!(data("x\nNA\n?\n").missing(), 2);
}

#[test]
fn unequal_lines_are_told_with_their_line() {
    assert_eq!(
        message("a,b\r\n1,2\r\n\r\n\"3\r\n\",4\r\n5,6,7\r\n"),
        "t.csv, line 6: expected 2 fields as in the header, found 3 (delimiter `,`); put values that contain the delimiter in \
         double quotes, or name the additional column in the header"
    );
    assert!(message("a,b\n1\n").starts_with("t.csv, line 2: expected 2 fields as in the header, found 1"));
    assert!(message("a,b\n0,\"p\nq\"\n1,\"x\n2,y\n").starts_with("t.csv, line 4: a quote opens in this line"));
    assert_eq!(read_text("a,b\n1,\"x\n2\"\n").unwrap().rows, 1);
    assert!(message("a,b\n1, \"x, y\"\n").contains("remove the space between"));
    assert!(message("a,b,c\n1,\"x\n2,y\n").contains("may never close"));
}

#[test]
fn bytes_that_are_not_utf8_are_told_with_their_place() {
    let read = |bytes: &[u8]| read_bytes(bytes, &ReadOptions::default()).unwrap_err().to_string();
    assert!(read(b"a,b\n1,ok\n2,caf\xe9\n").starts_with("t.csv, line 3, column `b`: byte 0xe9 is not UTF-8"));
    assert!(read(b"a,caf\xe9\n1,2\n").starts_with("t.csv, line 1, column `column_2`"));
}

#[test]
fn files_without_rows_or_of_another_kind() {
    for empty in ["", "\u{feff}", "\n \n\n"] {
        assert!(message(empty).contains("the file is empty"), "{empty:?}");
    }
    assert!(message("a,b\n").contains("header with 2 column(s) but no rows"));
    assert!(message("PK\u{3}\u{4}zip").contains("a zip archive or a spreadsheet"));
    assert!(message("@RELATION iris\n").contains("an ARFF file"));
    let utf16: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read_bytes(&utf16, &ReadOptions::default()).unwrap_err().to_string().contains("UTF-16"));
    let folder = tempfile::tempdir().unwrap();
    let error = |path: PathBuf| read(path, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error(folder.path().to_owned()), DataError::Directory { .. }));
    assert!(matches!(error(folder.path().join("absent.csv")), DataError::NotFound { .. }));
}

#[test]
fn gzip_is_seen_through_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.csv");
    let text = format!("a,b\n{}", (0..5000).map(|i| format!("{i},{}\n", i * 7919 % 5003)).collect::<String>());
    let packed = gzip(text.as_bytes());
    std::fs::write(&path, &packed).unwrap();
    let table = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!((table.rows, table.columns), (5000, read_text(&text).unwrap().columns));

    std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let error = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("cut off before its end"), "{error}");
    let mut damaged = packed;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xff);
    std::fs::write(&path, damaged).unwrap();
    assert!(matches!(read(&path, &ReadOptions::default()), Err(DataError::Gzip { .. })));
}

#[test]
fn demanded_types_hold_or_fail_with_the_place() {
    let options = |kind| ReadOptions { types: BTreeMap::from([("x".to_owned(), kind)]), ..ReadOptions::default() };
    let read = |text: &str, kind| read_bytes(text.as_bytes(), &options(kind));
    assert_eq!(category(&read("x\n10\n9\n10\n", ColumnType::Category).unwrap().columns[0].data).1, ["10", "9"]);
    assert_eq!(
        read("x\n1\n0\n", ColumnType::Boolean).unwrap().columns[0].data,
        ColumnData::Boolean(vec![Some(true), Some(false)])
    );
    assert_eq!(read("x\na\n", ColumnType::Text).unwrap().columns[0].data.kind(), ColumnType::Text);
    let error = |text, kind| read(text, kind).unwrap_err().to_string();
    assert!(error("x\n1\n\n2a\n", ColumnType::Numeric).starts_with("t.csv, line 4, column `x`: `2a` is not a number"));
    assert!(error("x\nyes\nmaybe\n", ColumnType::Boolean).starts_with("t.csv, line 3, column `x`: `maybe` is not true"));
    assert!(error("x\n2020-01-31\n2020-02-31\n", ColumnType::DateTime).starts_with("t.csv, line 3, column `x`"));
    assert!(error("y\n1\n", ColumnType::Text).contains("no column `x`"));
}

#[test]
fn a_schema_reads_another_file_alike() {
    let schema = read_text("n,c,b,d\n1,x,yes,2020-01-31\n2,z,no,2020-01-31\n3,10,no,\n").unwrap().schema();
    let table = with_schema("extra,d,c,n,b\n?,2020-01-31,z,5,no\nq,soon,y,oops,maybe\n,,10.0,6,\n", &schema).unwrap();
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["n", "c", "b", "d"]);
    assert_eq!(numbers(&table.columns[0].data), [Some(5.0), None, Some(6.0)]);
    assert_eq!(category(&table.columns[1].data), (vec![2, MISSING, 0], vec!["10", "x", "z"]));
    assert_eq!(table.columns[2].data, ColumnData::Boolean(vec![Some(false), None, None]));
    assert_eq!(numbers(&table.columns[3].data), [Some(1_580_428_800.0), None, None]);
    assert_eq!(table.warnings.len(), 4, "{:?}", table.warnings);
    assert!(table.warnings[0].contains("column `n`: 1 value(s) that are not numbers"));
    assert!(table.warnings[1].contains("such as `y` are not a known category"));
    assert_eq!(table.schema(), schema);

    let error = with_schema("n,C,b,d\n1,x,no,\n", &schema).unwrap_err().to_string();
    assert_eq!(error, "new.csv: there is no column `c` (did you mean `C`?); the file has `n`, `C`, `b`, `d`");
    let twice = Schema { columns: vec![schema.columns[0].clone(), schema.columns[0].clone()] };
    assert!(matches!(with_schema("n\n1\n", &twice), Err(DataError::SchemaTwice { .. })));
}

#[test]
fn rows_are_taken_and_columns_dropped() {
    let mut table = read_text("x,c,t\n1,a,T\n2,b,F\n3,a,\n").unwrap();
    let taken = table.take(&[2, 0, 2]);
    assert_eq!(numbers(&taken.columns[0].data), [Some(3.0), Some(1.0), Some(3.0)]);
    assert_eq!(category(&taken.columns[1].data), (vec![0, 0, 0], vec!["a", "b"]));
    assert_eq!(taken.columns[2].data, ColumnData::Boolean(vec![None, Some(true), None]));
    assert_eq!(taken.rows, 3);
    assert_eq!(table.drop_column("c").unwrap().name, "c");
    assert!(table.column("c").is_err());
    assert_eq!(table.position("t").unwrap(), 1);
    assert_eq!("date_time".parse::<ColumnType>().unwrap(), ColumnType::DateTime);
    assert!("numerc".parse::<ColumnType>().unwrap_err().to_string().contains("did you mean `numeric`?"));
}
