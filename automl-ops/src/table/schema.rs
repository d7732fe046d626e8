//! What a model remembers of the table it was trained on: enough to read another file the same way.

use serde::{Deserialize, Serialize};

use super::{ColumnData, ColumnType, DateOrder, TableColumn};

/// The columns of a table without their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The columns in order.
    pub columns: Vec<ColumnSchema>,
}

/// Name and type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnSchema {
    /// Name in the header.
    pub name: String,
    /// Type of its values.
    pub kind: ColumnType,
    /// The known categories in the order of their codes; empty for other types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// How its dates are written, where they end with the year. One file may settle what the next leaves open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_order: Option<DateOrder>,
}

impl Schema {
    /// The schema without the named column, as prediction needs it: the file to predict has no target.
    pub fn without(&self, name: &str) -> Self {
        Self { columns: self.columns.iter().filter(|column| column.name != name).cloned().collect() }
    }
}

impl ColumnSchema {
    /// The schema of one column.
    pub fn of(column: &TableColumn) -> Self {
        let levels = match &column.data {
            ColumnData::Category { levels, .. } => levels.clone(),
            _ => Vec::new(),
        };
        Self { name: column.name.clone(), kind: column.data.kind(), levels, date_order: column.date_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_survives_json_and_refuses_unknown_fields() {
        let schema = Schema {
            columns: vec![
                ColumnSchema::of(&TableColumn::new("x", ColumnData::Numeric(vec![1.0]))),
                ColumnSchema::of(&TableColumn::new("c", ColumnData::Category { codes: vec![0], levels: vec!["a".to_owned()] })),
            ],
        };
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(json, r#"{"columns":[{"name":"x","kind":"numeric"},{"name":"c","kind":"category","levels":["a"]}]}"#);
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        assert!(serde_json::from_str::<Schema>(r#"{"columns":[],"rows":3}"#).is_err());
        assert_eq!(schema.without("x").columns.len(), 1);
    }
}
