//! The people whose cases have a CRN, the number of a case in Delius.

use domain::identifier::{Crn, PrisonerNumber};
use sqlx::PgExecutor;

/// The numbers of the cases that have a CRN now, as far as the views have come; those that were
/// merged are left out, as the case goes on under the survivor. There can be several: two people
/// may have been taken for one in Delius.
///
/// # Errors
/// The database fails, or has no views.
pub async fn find_numbers(views: impl PgExecutor<'_>, crn: &Crn) -> Result<Vec<PrisonerNumber>, sqlx::Error> {
    const SQL: &str = "SELECT prisoner_number FROM prisoner_case WHERE crn = $1 AND merged_into IS NULL
        ORDER BY prisoner_number";
    let found: Vec<String> = sqlx::query_scalar(SQL).bind(crn.as_str()).fetch_all(views).await?;
    let decoded = found.iter().map(|number| number.parse::<PrisonerNumber>());
    decoded
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::ColumnDecode { index: "prisoner_number".to_owned(), source: error.into() })
}
