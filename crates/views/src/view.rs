//! The list of the views, from which follows each thing that is done to all of them.

use std::{fmt, str::FromStr};

use domain::text::Excerpt;

use crate::{
    columns::{SqlType, ViewColumn},
    pg_copy::CopyRows,
    table::ViewTable,
    tables::{
        allocation::AllocationRow, case_period::CasePeriodRow, case_prison::CasePrisonRow,
        control_entry::ControlEntryRow, nomis_contact::NomisContactRow, pom_period::PomPeriodRow, prison::PrisonRow,
        prisoner_case::PrisonerCaseRow, reception::ReceptionRow,
    },
};

/// Declares the views: `field: Option or Vec of the row as View`, by the kind of stream that the
/// rows follow from.
macro_rules! views {
    ($(
        $(#[$doc:meta])*
        $owner:ident => $rows:ident { $($field:ident: $many:ident<$row:ident> as $view:ident),+ $(,)? }
    )+) => {
        /// A view: a table whose rows follow from the log. The table `checkpoint` is not a view; it
        /// says how far the views have come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum View {
            $($(
                #[doc = concat!("`", stringify!($field), "`: see [`", stringify!($row), "`].")]
                $view,
            )+)+
        }

        /// Every view, in the order in which documents list them.
        pub const VIEWS: [View; VIEWS_LEN] = [$($(View::$view),+),+];

        const VIEWS_LEN: usize = [$($(stringify!($view)),+),+].len();

        impl View {
            fn declaration(self) -> ViewDeclaration {
                match self {
                    $($(Self::$view => ViewDeclaration::of::<$row>(Owner::$owner),)+)+
                }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $rows {
                $(
                    #[doc = concat!("Rows of `", stringify!($field), "`.")]
                    pub $field: $many<$row>,
                )+
            }

            impl $rows {
                fn encode(&self, encoded: &mut EncodedRows) {
                    $(if let Some(copy) = encoded.copy_of(View::$view) {
                        self.$field.iter().for_each(|row| copy.push(row));
                    })+
                }
            }
        )+
    };
}

views! {
    /// The rows of one case; no `prisoner_case` while nothing is recorded of it.
    Case => CaseRows {
        prisoner_case: Option<PrisonerCaseRow> as PrisonerCase,
        case_period: Vec<CasePeriodRow> as CasePeriod,
        case_prison: Vec<CasePrisonRow> as CasePrison,
        allocation: Vec<AllocationRow> as Allocation,
        reception: Vec<ReceptionRow> as Reception,
        control_entry: Vec<ControlEntryRow> as ControlEntry,
    }
    /// The rows of one prison; no `prison` while nothing is recorded of it.
    Prison => PrisonRows {
        prison: Option<PrisonRow> as Prison,
        pom_period: Vec<PomPeriodRow> as PomPeriod,
    }
    /// The rows of the POM contacts that NOMIS has of one person.
    Contacts => ContactRows {
        nomis_contact: Vec<NomisContactRow> as NomisContact,
    }
}

/// The kind of stream that a view's rows follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A case: the first column is the prisoner number.
    Case,
    /// A prison: the first column is the prison code.
    Prison,
    /// The contacts of a person: the first column is the prisoner number.
    Contacts,
}

/// The parts of a [`ViewTable`] that are not about one row.
struct ViewDeclaration {
    name: &'static str,
    comment: &'static str,
    columns: &'static [&'static [ViewColumn]],
    key: &'static [&'static str],
    check: Option<(&'static str, &'static str)>,
    owner: Owner,
    add_types: fn(&mut Vec<SqlType>),
}

impl ViewDeclaration {
    fn of<T: ViewTable>(owner: Owner) -> Self {
        Self {
            name: T::NAME,
            comment: T::COMMENT,
            columns: T::COLUMNS,
            key: T::KEY,
            check: T::CHECK,
            owner,
            add_types: T::types,
        }
    }
}

impl View {
    /// The table's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.declaration().name
    }

    /// The kind of stream that its rows follow from.
    #[must_use]
    pub fn owner(self) -> Owner {
        self.declaration().owner
    }

    /// The columns of its key, which are its first. The first of all is the prisoner number or the
    /// prison code.
    #[must_use]
    pub fn key(self) -> &'static [&'static str] {
        self.declaration().key
    }

    /// Its columns, the key first.
    pub fn columns(self) -> impl Iterator<Item = &'static ViewColumn> {
        self.declaration().columns.iter().copied().flatten()
    }

    /// The names of its columns as a statement lists them.
    #[must_use]
    pub fn column_list(self) -> String {
        self.columns().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// The columns that hold what a person wrote freely.
    #[must_use]
    pub fn free_texts(self) -> &'static [&'static str] {
        match self {
            Self::CasePeriod => &["override_detail"],
            Self::Allocation => &["suitability_detail", "override_detail", "reason", "note"],
            Self::ControlEntry => &["suitability_detail", "override_detail", "reason"],
            Self::PomPeriod => &["reason"],
            Self::PrisonerCase | Self::CasePrison | Self::Reception | Self::Prison | Self::NomisContact => &[],
        }
    }

    /// The meaning of a row.
    pub(crate) fn comment(self) -> &'static str {
        self.declaration().comment
    }

    /// The types of its columns.
    pub(crate) fn types(self) -> Vec<SqlType> {
        let mut types = Vec::new();
        (self.declaration().add_types)(&mut types);
        types
    }

    /// A constraint on its rows: its name and its condition.
    pub(crate) fn check(self) -> Option<(&'static str, &'static str)> {
        self.declaration().check
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
        let named = VIEWS.into_iter().find(|view| view.name() == name);
        named.ok_or_else(|| UnknownView { name: name.to_owned() })
    }
}

/// No view has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no view `{}`; the views are {}", Excerpt(.name), VIEWS.map(View::name).join(", "))]
pub struct UnknownView {
    name: String,
}

/// The rows of some streams, of all views or of one, ready to be written.
#[derive(Debug, Default)]
pub struct EncodedRows {
    only: Option<View>,
    copies: [CopyRows; VIEWS_LEN],
}

impl EncodedRows {
    /// For the rows of one view, or of all.
    #[must_use]
    pub fn of(only: Option<View>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Adds the rows of a case.
    pub fn add_case(&mut self, rows: &CaseRows) {
        rows.encode(self);
    }

    /// Adds the rows of a prison.
    pub fn add_prison(&mut self, rows: &PrisonRows) {
        rows.encode(self);
    }

    /// Adds the rows of a person's contacts.
    pub fn add_contacts(&mut self, rows: &ContactRows) {
        rows.encode(self);
    }

    fn copy_of(&mut self, view: View) -> Option<&mut CopyRows> {
        let is_wanted = self.only.is_none_or(|only| only == view);
        is_wanted.then(|| &mut self.copies[view as usize])
    }
}

/// The rows by view, each view once.
impl IntoIterator for EncodedRows {
    type Item = (View, CopyRows);
    type IntoIter = std::iter::Zip<std::array::IntoIter<View, VIEWS_LEN>, std::array::IntoIter<CopyRows, VIEWS_LEN>>;

    fn into_iter(self) -> Self::IntoIter {
        VIEWS.into_iter().zip(self.copies)
    }
}
