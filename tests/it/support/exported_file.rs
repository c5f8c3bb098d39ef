//! Reads exported files with independent readers, into cells that can be compared.

use std::{fs::File, path::Path};

use parquet::{
    basic::{LogicalType, Type as Physical},
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
    schema::types::Type,
};
use serde_json::{Value, value::RawValue};

/// The formats, by file extension.
pub const FORMATS: [&str; 3] = ["csv", "jsonl", "parquet"];

/// Column names, and rows of texts or nulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    pub names: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// Reads a file by its extension.
pub fn read(file: &Path) -> Cells {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => read_csv(file),
        Some("jsonl") => read_json_lines(file),
        _ => read_parquet(file),
    }
}

/// The position in the metadata of a Parquet file.
pub fn position(file: &Path) -> u64 {
    number(file, "ledger_position")
}

/// The number of streams that a view leaves out, in the metadata of a Parquet file.
pub fn streams_aside(file: &Path) -> u64 {
    number(file, "ledger_streams_aside")
}

fn number(file: &Path, key: &str) -> u64 {
    let metadata = open(file).metadata().file_metadata().clone();
    let pairs = metadata.key_value_metadata().expect("metadata");
    let value = pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
    value.expect(key).parse().expect("a number")
}

/// The columns of a Parquet file with their types.
pub fn types(file: &Path) -> Vec<String> {
    let reader = open(file);
    reader.metadata().file_metadata().schema().get_fields().iter().map(|field| type_of(field)).collect()
}

fn open(file: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(file).expect("a file")).expect("Parquet")
}

fn type_of(field: &Type) -> String {
    let kind = match field.get_basic_info().logical_type_ref() {
        Some(LogicalType::String) => "STRING".to_owned(),
        Some(LogicalType::Date) => "DATE".to_owned(),
        Some(LogicalType::List) => "LIST".to_owned(),
        Some(LogicalType::Timestamp(timestamp)) => {
            format!("TIMESTAMP_{:?} {}", timestamp.unit, if timestamp.is_adjusted_to_u_t_c { "UTC" } else { "local" })
        }
        Some(LogicalType::Decimal(decimal)) => format!("DECIMAL({},{})", decimal.precision, decimal.scale),
        Some(other) => format!("{other:?}"),
        None => match field.get_physical_type() {
            Physical::INT32 => "INT32".to_owned(),
            Physical::INT64 => "INT64".to_owned(),
            Physical::BOOLEAN => "BOOLEAN".to_owned(),
            other => format!("{other}"),
        },
    };
    format!("{} {kind}", field.name())
}

fn read_parquet(file: &Path) -> Cells {
    let reader = open(file);
    let schema = reader.metadata().file_metadata().schema().clone();
    let rows = reader
        .get_row_iter(None)
        .expect("rows")
        .map(|row| row.expect("a row").get_column_iter().map(|(_, field)| text_of(field)).collect());
    Cells { names: schema.get_fields().iter().map(|field| field.name().to_owned()).collect(), rows: rows.collect() }
}

fn text_of(field: &Field) -> Option<String> {
    Some(match field {
        Field::Null => return None,
        Field::Bool(value) => value.to_string(),
        Field::Int(number) => number.to_string(),
        Field::Long(number) => number.to_string(),
        Field::Str(text) => text.clone(),
        Field::Date(days) => chrono::NaiveDate::from_epoch_days(*days).expect("a date").to_string(),
        Field::TimestampMicros(micros) => {
            let instant = chrono::DateTime::from_timestamp_micros(*micros).expect("an instant");
            instant.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
        }
        Field::Decimal(decimal) => {
            let unscaled = i32::from_be_bytes(decimal.data().try_into().expect("32 bits"));
            format!("{}.{}", unscaled / 10, unscaled % 10)
        }
        Field::ListInternal(list) => {
            let elements: Vec<_> = list.elements().iter().map(text_of).collect();
            serde_json::to_string(&elements).expect("JSON")
        }
        // Only UUIDs are bytes.
        Field::Bytes(bytes) => uuid::Uuid::from_slice(bytes.data()).expect("a UUID").to_string(),
        other => panic!("{other:?} in an export"),
    })
}

/// Reads a CSV file and removes the mark that keeps a text from becoming a formula.
fn read_csv(file: &Path) -> Cells {
    let text = std::fs::read_to_string(file).expect("UTF-8");
    let text = text.strip_prefix('\u{feff}').expect("a byte order mark");
    // Every line ends in CR LF outside quotation marks. Some readers would take a bare LF for the
    // end of a line.
    let mut in_quotes = false;
    let mut before = ' ';
    for char in text.chars() {
        in_quotes ^= char == '"';
        assert!(in_quotes || char != '\n' || before == '\r', "a line ends in LF alone");
        before = char;
    }
    assert!(text.ends_with("\r\n"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let cell = |text: &str| {
        let is_guarded = text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = text.strip_prefix('\'').filter(|_| is_guarded).unwrap_or(text);
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let rows = reader.records().map(|record| record.expect("a record").iter().map(cell).collect());
    Cells { names, rows: rows.collect() }
}

fn read_json_lines(file: &Path) -> Cells {
    let mut cells = Cells { names: Vec::new(), rows: Vec::new() };
    for line in std::fs::read_to_string(file).expect("UTF-8").lines() {
        let members: Members = serde_json::from_str(line).expect("an object");
        let (names, row): (Vec<String>, Vec<_>) = members.0.into_iter().unzip();
        cells.rows.push(row);
        assert!(cells.names.is_empty() || cells.names == names, "every line has every column, in one order");
        cells.names = names;
    }
    cells
}

/// The members of an object in their order in the file.
struct Members(Vec<(String, Option<String>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, json)) = map.next_entry::<String, Box<RawValue>>()? {
                    let value: Value = serde_json::from_str(json.get()).expect("JSON");
                    let text = match value {
                        Value::Null => None,
                        Value::String(text) => Some(text),
                        _ => Some(json.get().to_owned()),
                    };
                    members.push((name, text));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
