//! Parquet files written here and read back.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_buffer::OffsetBuffer;
use arrow_schema::Field;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::super::{ColumnData, ColumnType, read as read_file, read_with_schema};
use super::*;

fn write(columns: Vec<(&str, ArrayRef)>) -> (TempDir, PathBuf) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.dat");
    let properties = WriterProperties::builder().set_compression(Compression::GZIP(Default::default())).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    (folder, path)
}

fn sample() -> Vec<(&'static str, ArrayRef)> {
    let dictionary: DictionaryArray<Int8Type> = vec![Some("b"), Some("a"), None].into_iter().collect();
    vec![
        ("int", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]))),
        ("float", Arc::new(Float32Array::from(vec![0.5, f32::NAN, f32::INFINITY]))),
        ("decimal", Arc::new(Decimal128Array::from(vec![150, 225, -5]).with_precision_and_scale(10, 2).unwrap())),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("text", Arc::new(StringArray::from(vec![Some("1"), Some(" 2020-01-31 "), Some("")]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("u"), None, Some("v")]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("u"), None, Some("v")]))),
        ("level", Arc::new(dictionary)),
        ("date", Arc::new(Date32Array::from(vec![Some(0), Some(1), None]))),
        ("date64", Arc::new(Date64Array::from(vec![Some(0), Some(86_400_000), None]))),
        ("stamp", Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000, 0, -1_000_000_000]))),
        ("zoned", Arc::new(TimestampSecondArray::from(vec![1, 2, 3]).with_timezone("+02:00"))),
        ("time", Arc::new(Time32MillisecondArray::from(vec![1500, 0, 1]))),
        ("small", Arc::new(UInt8Array::from(vec![7, 8, 9]))),
    ]
}

fn numbers(data: &ColumnData) -> Vec<Option<f64>> {
    match data {
        ColumnData::Numeric(values) | ColumnData::DateTime(values) => {
            values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_flat_type_is_read() {
    let (_folder, path) = write(sample());
    let table = read_file(&path, &ReadOptions::default()).unwrap();
    assert_eq!(table.rows, 3);
    let column = |name| &table.column(name).unwrap().data;
    assert_eq!(numbers(column("int")), [Some(1.0), None, Some(-3.0)]);
    assert_eq!(numbers(column("float")), [Some(0.5), None, None]);
    assert_eq!(numbers(column("decimal")), [Some(1.5), Some(2.25), Some(-0.05)]);
    assert_eq!(*column("bool"), ColumnData::Boolean(vec![Some(true), None, Some(false)]));
    let category = |codes: [u32; 3], levels: [&str; 2]| ColumnData::Category {
        codes: codes.to_vec(),
        levels: levels.map(str::to_owned).to_vec(),
    };
    assert_eq!(*column("text"), category([0, 1, MISSING], ["1", "2020-01-31"]));
    assert_eq!(*column("large"), category([0, MISSING, 1], ["u", "v"]));
    assert_eq!(*column("view"), category([0, MISSING, 1], ["u", "v"]));
    assert_eq!(*column("level"), category([1, 0, MISSING], ["a", "b"]));
    assert_eq!(numbers(column("date")), [Some(0.0), Some(86_400.0), None]);
    assert_eq!(numbers(column("date64")), [Some(0.0), Some(86_400.0), None]);
    assert_eq!(numbers(column("stamp")), [Some(1.5), Some(0.0), Some(-1.0)]);
    assert_eq!(numbers(column("zoned")), [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(column("zoned").kind(), ColumnType::DateTime);
    assert_eq!(numbers(column("time")), [Some(1.5), Some(0.0), Some(0.001)]);
    assert_eq!(numbers(column("small")), [Some(7.0), Some(8.0), Some(9.0)]);
    assert_eq!(table.warnings.len(), 1, "{:?}", table.warnings);
}

#[test]
fn a_schema_from_text_reads_a_parquet_file() {
    let (folder, path) = write(sample());
    let csv = folder.path().join("t.csv");
    std::fs::write(&csv, "level,small,int,stamp,bool\na,7,yes,1970-01-01,1\nc,8,no,1970-01-02,0\n").unwrap();
    let mut options = ReadOptions::default();
    options.types.insert("small".to_owned(), ColumnType::Category);
    let schema = read_file(&csv, &options).unwrap().schema();
    let table = read_with_schema(&path, &schema, &ReadOptions::default()).unwrap();
    let codes = |position: usize| match &table.columns[position].data {
        ColumnData::Category { codes, .. } => codes.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(codes(0), [MISSING, 0, MISSING]);
    assert_eq!(codes(1), [0, 1, MISSING]);
    assert_eq!(table.columns[2].data, ColumnData::Boolean(vec![Some(true), None, None]));
    assert_eq!(numbers(&table.columns[3].data)[0], Some(1.5));
    assert_eq!(numbers(&table.columns[4].data), [Some(1.0), None, Some(0.0)]);
    assert_eq!(table.schema(), schema);
}

#[test]
fn nested_columns_and_broken_demands_are_named() {
    let list = ListArray::new(
        Arc::new(Field::new_list_field(DataType::Int32, true)),
        OffsetBuffer::from_lengths([2, 1]),
        Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef,
        None,
    );
    let words: ArrayRef = Arc::new(StringArray::from(vec!["1", "two"]));
    let (_folder, path) = write(vec![("tags", Arc::new(list)), ("word", words)]);
    let error = read_file(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("column `tags`: values of type List"), "{error}");
    // A column nobody asks for may be of any type.
    let schema: Schema = serde_json::from_str(r#"{"columns":[{"name":"word","kind":"numeric"}]}"#).unwrap();
    let table = read_with_schema(&path, &schema, &ReadOptions::default()).unwrap();
    assert_eq!(numbers(&table.columns[0].data), [Some(1.0), None]);

    let (_folder, path) = write(vec![("word", Arc::new(StringArray::from(vec!["1", "two"])))]);
    let mut options = ReadOptions::default();
    options.types.insert("word".to_owned(), ColumnType::Numeric);
    let error = read_file(&path, &options).unwrap_err().to_string();
    assert!(error.contains("row 2, column `word`: `two` is not a number"), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let ints: DictionaryArray<Int32Type> = (0..300).map(|i| if i % 3 == 0 { "x" } else { "y" }).collect();
    let floats: Float64Array = (0..300).map(|i| Some(f64::from(i) * 0.1)).collect();
    let (_folder, path) = write(vec![("d", Arc::new(ints)), ("f", Arc::new(floats))]);
    let whole = std::fs::read(&path).unwrap();
    for cut in [4, 8, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = read_file(&path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, DataError::Parquet { .. }), "{cut}: {error}");
    }
    // The decoder itself panics on some of these, most of them in the index at the end.
    for place in (4..whole.len()).filter(|place| place % 3 == 0 || whole.len() - place < 700) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x01;
        std::fs::write(&path, &damaged).unwrap();
        let _ = read_file(&path, &ReadOptions::default());
    }
}
