//! Whatever the bytes, there is a table or an error.

use proptest::prelude::*;

use super::super::*;
use super::{data, gzip, read_bytes};

/// Bytes that often mean something to the reader.
fn telling() -> impl Strategy<Value = Vec<u8>> {
    let bytes =
        proptest::sample::select(b",;\t\"\n\r 019.-+eEainfNA?x\xef\xbb\xbf\x00\xe9/:TF".to_vec());
    proptest::collection::vec(bytes, 0..200)
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_bytes(&bytes, &ReadOptions::default());
    }

    #[test]
    fn no_telling_bytes_make_the_reader_panic(bytes in telling()) {
        if let Ok(table) = read_bytes(&bytes, &ReadOptions::default()) {
            for column in &table.columns {
                prop_assert_eq!(column.data.len(), table.rows);
            }
            let input = Input::from_bytes("t.csv", &bytes).unwrap();
            let again = dispatch(input, Some(&table.schema()), &ReadOptions::default()).unwrap();
            prop_assert_eq!(again.schema(), table.schema());
            let missing = |table: &Table| table.columns.iter().map(|column| column.data.missing()).collect::<Vec<_>>();
            prop_assert_eq!(missing(&again), missing(&table));
        }
    }

    #[test]
    fn no_gzip_header_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let packed = gzip(&bytes);
        let _ = read_bytes(&packed, &ReadOptions::default());
        let _ = read_bytes(&packed[..packed.len() / 2], &ReadOptions::default());
        let _ = read_bytes(&[source_magic().as_slice(), &bytes].concat(), &ReadOptions::default());
    }

    #[test]
    fn numbers_are_read_as_they_are_written(values in proptest::collection::vec(proptest::num::f64::NORMAL, 1..50)) {
        let text: String = values.iter().map(|value| format!("{value:e}\n")).collect();
        prop_assert_eq!(data(&format!("x\n{text}")), ColumnData::Numeric(values));
    }
}

fn source_magic() -> [u8; 3] {
    [0x1f, 0x8b, 8]
}
