//! The declaration of a table: from one list of columns follow the row's struct, its SQL, its
//! encoding and its reader.

use sqlx::postgres::PgRow;

use crate::columns::{Columns, Damage, RowReader, ViewColumn};

/// A table, declared by its row.
pub trait ViewTable: Columns {
    /// The table's name.
    const NAME: &'static str;
    /// The meaning of a row: the table's comment.
    const COMMENT: &'static str;
    /// The columns in order, those of one field of the row together.
    const COLUMNS: &'static [&'static [ViewColumn]];
    /// The columns of the primary key, which are the table's first.
    const KEY: &'static [&'static str];
    /// A constraint on each row: its name and its condition.
    const CHECK: Option<(&'static str, &'static str)>;

    /// The list that a statement must select first for [`ViewTable::read_row`] to read the table's
    /// row, where `alias` is the table's name in the statement.
    #[must_use]
    fn select(alias: &str) -> String {
        let columns = Self::COLUMNS.iter().copied().flatten();
        columns.map(|column| format!("{alias}.{}", column.name)).collect::<Vec<_>>().join(", ")
    }

    /// Reads a row of a statement that begins with [`ViewTable::select`].
    ///
    /// # Errors
    /// [`Damage`] where a column holds what no row can have.
    fn read_row(row: &PgRow) -> Result<Self, Damage> {
        Self::read(&mut RowReader::new(Self::NAME, Self::COLUMNS, row))
    }

    /// [`ViewTable::read_row`] where an outer join may have found no row of the table.
    ///
    /// # Errors
    /// As [`ViewTable::read_row`].
    fn read_joined_row(row: &PgRow) -> Result<Option<Self>, Damage> {
        Option::<Self>::read(&mut RowReader::new(Self::NAME, Self::COLUMNS, row))
    }
}

/// Declares a table and its row: `Row in name, key (columns), check name = "condition" { fields }`.
///
/// A field is a column. A field whose type has several columns names them in braces. Doc comments
/// become the comments in the database, which are the analysts' data dictionary; that of a field
/// with several columns is for readers of the code alone.
macro_rules! table {
    (
        $(#[doc = $comment:literal])+
        $row:ident in $name:ident, key ($($key:ident),+)
        $(, check $check:ident = $condition:literal)? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty
                $({ $($(#[doc = $part_doc:literal])+ $part:ident),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[doc = $comment])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        $crate::columns::columns!($row { $($field: $type),+ });

        impl $crate::table::ViewTable for $row {
            const NAME: &'static str = stringify!($name);
            const COMMENT: &'static str = concat!($($comment),+);
            const COLUMNS: &'static [&'static [$crate::columns::ViewColumn]] = &[$(
                $crate::table::field_columns!(
                    $field [$($doc),+] $({ $($part [$($part_doc),+])+ })?
                )
            ),+];
            const KEY: &'static [&'static str] = &[$(stringify!($key)),+];
            const CHECK: Option<(&'static str, &'static str)> =
                $crate::table::check!($($check = $condition)?);
        }

        const _: () = assert!(
            $crate::table::width(<$row as $crate::table::ViewTable>::COLUMNS)
                == <$row as $crate::columns::Columns>::WIDTH,
            "each column of each field has a name"
        );
    };
}
pub(crate) use table;

/// The columns of a field in [`table!`].
macro_rules! field_columns {
    ($field:ident [$($doc:literal),+]) => {
        &[$crate::columns::ViewColumn { name: stringify!($field), comment: concat!($($doc),+) }]
    };
    ($field:ident [$($doc:literal),+] { $($part:ident [$($part_doc:literal),+])+ }) => {
        &[$($crate::columns::ViewColumn {
            name: stringify!($part),
            comment: concat!($($part_doc),+),
        }),+]
    };
}
pub(crate) use field_columns;

/// The constraint in [`table!`].
macro_rules! check {
    () => {
        None
    };
    ($name:ident = $condition:literal) => {
        Some((stringify!($name), $condition))
    };
}
pub(crate) use check;

/// The number of columns.
pub(crate) const fn width(columns: &[&[ViewColumn]]) -> usize {
    let (mut width, mut field) = (0, 0);
    while field < columns.len() {
        width += columns[field].len();
        field += 1;
    }
    width
}
