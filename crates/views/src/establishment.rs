//! Table `establishment`: names of prisons, beside the views. It is the program's own list, follows
//! from no event, and is made with the tables of each version.

use std::fmt::Write as _;

use domain::prison::{Establishment, establishments};

use crate::sql_text::literal;

/// The table's name.
pub const NAME: &str = "establishment";

/// The columns of its key.
pub const KEY: &[&str] = &["prison_code"];

const CREATE_TABLE_SQL: &str = "\
CREATE TABLE establishment (
    prison_code text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    CONSTRAINT establishment_pkey PRIMARY KEY (prison_code)
);
COMMENT ON TABLE establishment IS 'One row a prison of the program''s list, whether the ledger has heard of it or not. It follows from no event, and `projections verify` does not compare it.';
COMMENT ON COLUMN establishment.prison_code IS 'Agency code, e.g. LEI.';
COMMENT ON COLUMN establishment.name IS 'Name without HMP, e.g. Leeds.';
COMMENT ON COLUMN establishment.country IS 'ENGLAND or WALES.';
INSERT INTO establishment (prison_code, name, country) VALUES";

/// The statements that make and fill the table.
pub(crate) fn create_sql() -> String {
    let mut sql = CREATE_TABLE_SQL.to_owned();
    for (index, Establishment { code, name, country }) in establishments().enumerate() {
        let (comma, name) = (if index == 0 { "" } else { "," }, literal(name));
        write!(sql, "{comma}\n    ('{code}', {name}, '{}')", country.word())
            .expect("a string takes all that is written");
    }
    sql.push_str(";\n");
    sql
}
