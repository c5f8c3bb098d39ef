//! The table to export, whatever its source and its format: columns with their types, and rows of
//! cells.

/// A column, with its name as in the data dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportColumn {
    pub(crate) name: String,
    pub(crate) kind: CellKind,
    /// Whether a cell may be null. Where a time may be `infinity` it may.
    pub(crate) is_nullable: bool,
}

/// The kind of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// Text of which many rows have the same.
    Word,
    /// Text of which most rows have their own.
    Text,
    /// JSON as it was recorded.
    Json,
    /// A whole number of 64 bits.
    BigInt,
    /// A whole number of 32 bits.
    Integer,
    /// True or false.
    Boolean,
    /// Microseconds since 1970, UTC.
    Timestamp,
    /// Days since 1970.
    Date,
    /// A UUID.
    Uuid,
    /// A number with so many digits, so many of them after the point.
    Decimal {
        /// All its digits, nine at most.
        precision: u8,
        /// Those after the point.
        scale: u8,
    },
    /// A list of words.
    Words,
}

/// A value in a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExportCell<'a> {
    /// For [`CellKind::Word`], [`CellKind::Text`] and [`CellKind::Json`].
    Text(&'a str),
    /// For [`CellKind::BigInt`], and microseconds for [`CellKind::Timestamp`].
    BigInt(i64),
    /// For [`CellKind::Integer`], days for [`CellKind::Date`], and for [`CellKind::Decimal`] the
    /// number without its point.
    Integer(i32),
    /// For [`CellKind::Boolean`].
    Boolean(bool),
    /// For [`CellKind::Uuid`].
    Uuid([u8; 16]),
    /// For [`CellKind::Words`].
    Words(Vec<&'a str>),
    /// For any, where the column is nullable.
    Null,
}

impl<'a> From<&'a str> for ExportCell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<ExportCell<'a>>> From<Option<T>> for ExportCell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The table to export, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportTable {
    /// The view's name, or `log`.
    pub(crate) name: &'static str,
    /// The position in the log of the last event that it includes.
    pub(crate) position: u64,
    /// How many cases and prisons it leaves out; `None` for the log, which has all.
    pub(crate) streams_aside: Option<usize>,
    /// Its columns.
    pub(crate) columns: Vec<ExportColumn>,
}
