//! SQL view `case_now`: the cases as they are at the moment of the question. It is a question to
//! `case_period` that spares analysts its condition; it holds no rows, so no rebuild fills it and
//! `verify` does not compare it.

use std::fmt::Write as _;

use crate::{columns::ViewColumn, establishment, sql_text::literal, view::View};

/// The view's name.
pub const NAME: &str = "case_now";

/// The columns that tell its rows apart.
pub const KEY: &[&str] = &["prisoner_number"];

/// The column that `case_period` does not have.
const PRISON_NAME: &str = "prison_name";

const COMMENT: &str = "The cases as they are now, one row a case: the period of `case_period` that holds at this moment. \
                       A number that was merged into another has none.";

/// The query for the cases as they are at an instant, an SQL expression.
#[must_use]
pub fn select_sql(at: &str) -> String {
    let columns: Vec<String> = columns()
        .map(|column| match column.name {
            PRISON_NAME => format!("{}.name AS {PRISON_NAME}", establishment::NAME),
            name => format!("{}.{name}", View::CasePeriod),
        })
        .collect();
    format!(
        "SELECT {}\n  FROM {periods}\n  LEFT JOIN {names} ON {names}.prison_code = {periods}.prison\n \
         WHERE {periods}.valid_from <= {at} AND {at} < {periods}.valid_to",
        columns.join(", "),
        periods = View::CasePeriod,
        names = establishment::NAME,
    )
}

/// The statements that make the view. `case_period` and `establishment` must be there.
#[must_use]
pub fn create_sql() -> String {
    let mut sql =
        format!("CREATE VIEW {NAME} AS\n{};\nCOMMENT ON VIEW {NAME} IS {};\n", select_sql("now()"), literal(COMMENT));
    for ViewColumn { name, comment } in columns() {
        writeln!(sql, "COMMENT ON COLUMN {NAME}.{name} IS {};", literal(comment))
            .expect("a string takes all that is written");
    }
    sql
}

/// The columns of `case_period`, and the prison's name after its code.
fn columns() -> impl Iterator<Item = ViewColumn> {
    View::CasePeriod.columns().flat_map(|&column| {
        let prison_name =
            ViewColumn { name: PRISON_NAME, comment: "Name of that prison; null where the list of prisons lacks it." };
        [Some(column), (column.name == "prison").then_some(prison_name)].into_iter().flatten()
    })
}
