//! What is exported, whatever its source and whatever the format: columns with their types, and rows of cells.

/// A column: its name as in the data dictionary, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether a cell may be null. Where a time may be `infinity` it may.
    pub(crate) is_nullable: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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
pub(crate) enum Cell<'a> {
    /// For [`Kind::Word`], [`Kind::Text`] and [`Kind::Json`].
    Text(&'a str),
    /// For [`Kind::BigInt`], and microseconds for [`Kind::Timestamp`].
    BigInt(i64),
    /// For [`Kind::Integer`], days for [`Kind::Date`], and for [`Kind::Decimal`] the number without its point.
    Integer(i32),
    /// For [`Kind::Boolean`].
    Boolean(bool),
    /// For [`Kind::Uuid`].
    Uuid([u8; 16]),
    /// For [`Kind::Words`].
    Words(Vec<&'a str>),
    /// For any, where the column is nullable.
    Null,
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What is exported, and of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The view's name, or `log`.
    pub(crate) name: &'static str,
    /// The position in the log of the last event that it includes.
    pub(crate) position: u64,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
}
