//! The tables, one module each: its columns and every statement that touches it.
//!
//! The tables have one writer, this crate, and one way in, `COPY`; live projection deletes the rows of the touched cases
//! and prisons first. Statements name no schema: the connection's search path does, so that the same statements fill
//! the serving views, a rebuild beside them, and the views as of a past date.

mod allocation;
mod case_period;
pub(crate) mod checkpoint;
mod nomis_contact;
mod pom_period;
mod prison;
mod prisoner_case;

use sqlx::PgConnection;

use crate::{
    copy::Copy,
    folding::History,
    rows::{
        Allocation, CasePeriod, CaseRows, NomisContact, PomPeriod, Prison, PrisonRows, PrisonerCase, case_rows,
        prison_rows,
    },
};

/// A row of a table.
trait Row {
    /// Takes rows in; the columns in the order of [`Row::encode`].
    const COPY: &'static str;
    /// Deletes the rows of the cases or prisons whose keys are `$1`.
    const DELETE: &'static str;
    /// Adds the row to rows for [`Row::COPY`].
    fn encode(&self, copy: &mut Copy);
}

/// The rows of some cases and prisons, of all tables, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    prisoner_case: Copy,
    case_period: Copy,
    allocation: Copy,
    prison: Copy,
    pom_period: Copy,
    nomis_contact: Copy,
}

impl Tables {
    /// Adds the rows of a history.
    pub(crate) fn add(&mut self, history: &History) {
        match history {
            History::Case(history) => {
                let CaseRows { prisoner_case, case_period, allocation } = case_rows(history);
                encode(prisoner_case, &mut self.prisoner_case);
                encode(case_period, &mut self.case_period);
                encode(allocation, &mut self.allocation);
            }
            History::Prison(history) => {
                let PrisonRows { prison, pom_period, nomis_contact } = prison_rows(history);
                encode(prison, &mut self.prison);
                encode(pom_period, &mut self.pom_period);
                encode(nomis_contact, &mut self.nomis_contact);
            }
        }
    }

    /// Takes the rows in: one round trip or two for each table that has any.
    pub(crate) async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.prisoner_case.send(connection, PrisonerCase::COPY).await?;
        self.case_period.send(connection, CasePeriod::COPY).await?;
        self.allocation.send(connection, Allocation::COPY).await?;
        self.prison.send(connection, Prison::COPY).await?;
        self.pom_period.send(connection, PomPeriod::COPY).await?;
        self.nomis_contact.send(connection, NomisContact::COPY).await?;
        Ok(())
    }
}

fn encode<R: Row>(rows: impl IntoIterator<Item = R>, copy: &mut Copy) {
    for row in rows {
        row.encode(copy);
    }
}

/// The cases and prisons whose rows are about to be replaced.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Prisoner numbers.
    pub(crate) cases: Vec<String>,
    /// Prison codes.
    pub(crate) prisons: Vec<String>,
}

impl Keys {
    /// Deletes their rows from all tables.
    pub(crate) async fn delete(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let statements = [
            (&self.cases, [PrisonerCase::DELETE, CasePeriod::DELETE, Allocation::DELETE]),
            (&self.prisons, [Prison::DELETE, PomPeriod::DELETE, NomisContact::DELETE]),
        ];
        for (keys, statements) in statements {
            if keys.is_empty() {
                continue;
            }
            for statement in statements {
                sqlx::query(statement).bind(keys).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}
