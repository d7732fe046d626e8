//! Whatever the bytes, there is a table or an error.

use proptest::prelude::*;

use super::super::*;
use super::{data, gzip, read_bytes, read_text};

/// Bytes that often mean something to the reader.
fn telling() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::sample::select(b",;\t\"\n\r 019.-+eEainfNA?x\xef\xbb\xbf\x00\xe9/:TF".to_vec());
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

#[test]
fn what_the_head_of_a_long_file_shows_decides_nothing_wrongly() {
    // Lengths of the header shift where the head is cut: within a sign, an exponent, a missing token or a quote.
    for shift in 1..60 {
        let row = |i: usize| format!("{i},-1.5e-7,\"w\n{i}\",NA,-{i}.25\n");
        let rows: String = (0..3000).map(row).collect();
        let name = "n".repeat(shift);
        let table = read_text(&format!("{name},a,b,c,d\n{rows}x,1,2,3,4\n")).unwrap();
        let kinds: Vec<&str> = table.columns.iter().map(|c| c.data.kind().name()).collect();
        assert_eq!(kinds, ["category", "numeric", "category", "numeric", "numeric"], "{shift}");
        assert_eq!(table.columns[0].data.missing(), 0);
        assert_eq!(table.rows, 3001);
    }
}
