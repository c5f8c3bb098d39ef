//! A command to either kind of stream.

use crate::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    prison, prisoner,
};

/// A command and the case or prison that it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A command about a case.
    Prisoner(PrisonerNumber, prisoner::Command),
    /// A command about a prison.
    Prison(PrisonCode, prison::Command),
}

impl Command {
    /// The stream that the command's events go to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self {
            Self::Prisoner(number, _) => Stream::Prisoner(number.clone()),
            Self::Prison(code, _) => Stream::Prison(code.clone()),
        }
    }
}
