//! The tables, one module each: its columns and every statement that touches it.
//!
//! The tables have one writer, this crate, and one way in, `COPY`; live projection deletes the rows of the touched cases
//! and prisons first. Statements name no schema: the connection's search path does, so that the same statements fill
//! the serving views, a rebuild beside them, and the views as of a past date.

mod allocation;
mod case_period;
mod case_prison;
pub(crate) mod checkpoint;
mod nomis_contact;
mod pom_period;
mod prison;
mod prisoner_case;

use std::{fmt, str::FromStr};

use sqlx::PgConnection;

use crate::{
    copy::Copy,
    folding::History,
    rows::{
        Allocation, CasePeriod, CasePrison, CaseRows, NomisContact, PomPeriod, Prison, PrisonRows, PrisonerCase,
        case_rows, prison_rows,
    },
};

/// A row of a table.
trait Row {
    /// The columns in the order of [`Row::encode`], which begins with the key.
    const COLUMNS: &'static str;
    /// Deletes the rows of the cases or prisons whose keys are `$1`.
    const DELETE: &'static str;
    /// Adds the row to rows with [`Row::COLUMNS`].
    fn encode(&self, copy: &mut Copy);
}

/// A view: a table whose rows follow from the log. `checkpoint` is none, it says how far they have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// One row a case.
    PrisonerCase,
    /// One row a period of a case.
    CasePeriod,
    /// One row a prison that a case was ever said to be held at.
    CasePrison,
    /// One row an allocation or reallocation.
    Allocation,
    /// One row a prison.
    Prison,
    /// One row a period of a POM on a roster.
    PomPeriod,
    /// One row a POM contact seen in NOMIS.
    NomisContact,
}

/// Every view, in the order in which they are spoken of.
pub const VIEWS: [View; 7] = [
    View::PrisonerCase,
    View::CasePeriod,
    View::CasePrison,
    View::Allocation,
    View::Prison,
    View::PomPeriod,
    View::NomisContact,
];

impl View {
    /// The table's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrisonerCase => "prisoner_case",
            Self::CasePeriod => "case_period",
            Self::CasePrison => "case_prison",
            Self::Allocation => "allocation",
            Self::Prison => "prison",
            Self::PomPeriod => "pom_period",
            Self::NomisContact => "nomis_contact",
        }
    }

    /// How many of its first columns make up its key. The first of all is the prisoner number or the prison code.
    pub(crate) fn key_columns(self) -> usize {
        match self {
            Self::PrisonerCase | Self::Prison => 1,
            Self::CasePeriod | Self::CasePrison | Self::Allocation | Self::NomisContact => 2,
            Self::PomPeriod => 3,
        }
    }

    /// The columns of its key.
    pub fn key(self) -> impl Iterator<Item = &'static str> {
        self.columns().split(',').map(str::trim).take(self.key_columns())
    }

    /// Its columns, the key first.
    pub(crate) fn columns(self) -> &'static str {
        match self {
            Self::PrisonerCase => PrisonerCase::COLUMNS,
            Self::CasePeriod => CasePeriod::COLUMNS,
            Self::CasePrison => CasePrison::COLUMNS,
            Self::Allocation => Allocation::COLUMNS,
            Self::Prison => Prison::COLUMNS,
            Self::PomPeriod => PomPeriod::COLUMNS,
            Self::NomisContact => NomisContact::COLUMNS,
        }
    }

    /// The statement that takes rows in.
    fn copy_in(self) -> String {
        format!("COPY {self} ({}) FROM STDIN (FORMAT binary)", self.columns())
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for View {
    type Err = UnknownView;
    fn from_str(name: &str) -> Result<Self, UnknownView> {
        VIEWS.into_iter().find(|view| view.name() == name).ok_or_else(|| UnknownView { name: name.to_owned() })
    }
}

/// There is no view of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no view `{name}`; the views are {}", VIEWS.map(View::name).join(", "))]
pub struct UnknownView {
    name: String,
}

/// The rows of some cases and prisons, of all tables or of one, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    only: Option<View>,
    prisoner_case: Copy,
    case_period: Copy,
    case_prison: Copy,
    allocation: Copy,
    prison: Copy,
    pom_period: Copy,
    nomis_contact: Copy,
}

impl Tables {
    /// For the rows of one table, or of all.
    pub(crate) fn of(only: Option<View>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Adds the rows of a history.
    pub(crate) fn add(&mut self, history: &History) {
        let wanted = |view| self.only.is_none_or(|only| only == view);
        match history {
            History::Case(history) => {
                let CaseRows { prisoner_case, case_period, case_prison, allocation } = case_rows(history);
                encode(prisoner_case.filter(|_| wanted(View::PrisonerCase)), &mut self.prisoner_case);
                encode(case_period.into_iter().filter(|_| wanted(View::CasePeriod)), &mut self.case_period);
                encode(case_prison.into_iter().filter(|_| wanted(View::CasePrison)), &mut self.case_prison);
                encode(allocation.into_iter().filter(|_| wanted(View::Allocation)), &mut self.allocation);
            }
            History::Prison(history) => {
                let PrisonRows { prison, pom_period, nomis_contact } = prison_rows(history);
                encode(prison.filter(|_| wanted(View::Prison)), &mut self.prison);
                encode(pom_period.into_iter().filter(|_| wanted(View::PomPeriod)), &mut self.pom_period);
                encode(nomis_contact.into_iter().filter(|_| wanted(View::NomisContact)), &mut self.nomis_contact);
            }
        }
    }

    /// Takes the rows in: one round trip or two for each table that has any.
    pub(crate) async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (view, copy) in self.into_copies() {
            copy.send(connection, &view.copy_in()).await?;
        }
        Ok(())
    }

    /// The rows as they are encoded, by table.
    pub(crate) fn into_copies(self) -> [(View, Copy); 7] {
        [
            (View::PrisonerCase, self.prisoner_case),
            (View::CasePeriod, self.case_period),
            (View::CasePrison, self.case_prison),
            (View::Allocation, self.allocation),
            (View::Prison, self.prison),
            (View::PomPeriod, self.pom_period),
            (View::NomisContact, self.nomis_contact),
        ]
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
        let of_cases: &[&'static str] =
            &[PrisonerCase::DELETE, CasePeriod::DELETE, CasePrison::DELETE, Allocation::DELETE];
        let of_prisons: &[&'static str] = &[Prison::DELETE, PomPeriod::DELETE, NomisContact::DELETE];
        let statements = [(&self.cases, of_cases), (&self.prisons, of_prisons)];
        for (keys, statements) in statements {
            if keys.is_empty() {
                continue;
            }
            for &statement in statements {
                sqlx::query(statement).bind(keys).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}
