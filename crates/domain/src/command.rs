//! A command to any kind of stream.

use crate::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    nomis_contacts, prison, prisoner,
};

/// A command and the case, prison or person that it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A command about a case.
    Prisoner(PrisonerNumber, prisoner::Command),
    /// A command about a prison.
    Prison(PrisonCode, prison::Command),
    /// A command about the POM contacts that NOMIS has of a person.
    Contacts(PrisonerNumber, nomis_contacts::Command),
}

impl Command {
    /// The stream that the command's events go to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self {
            Self::Prisoner(number, _) => Stream::Prisoner(number.clone()),
            Self::Prison(code, _) => Stream::Prison(code.clone()),
            Self::Contacts(number, _) => Stream::Contacts(number.clone()),
        }
    }

    /// The name of the command's kind.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::Prisoner(_, command) => command.kind().name(),
            Self::Prison(_, command) => command.kind().name(),
            Self::Contacts(_, command) => command.kind().name(),
        }
    }
}

/// Makes the commands to a kind of stream from one list: the enum of the commands, and the enum of
/// their kinds, over which the generators of random commands match.
macro_rules! commands {
    (
        $(#[$doc:meta])* commands: $command:ident, kinds: $kind:ident;
        $($(#[$variant_doc:meta])* $variant:ident $(($data:ty))? $({ $($fields:tt)* })?,)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub enum $command {
            $($(#[$variant_doc])* $variant $(($data))? $({ $($fields)* })?,)*
        }

        #[doc = concat!("The kind of a [`", stringify!($command), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kind's name, e.g. `AssignTier`; a label of published metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }

        impl $command {
            /// The command's kind.
            #[must_use]
            pub const fn kind(&self) -> $kind {
                match self {
                    $(Self::$variant { .. } => $kind::$variant,)*
                }
            }
        }
    };
}
pub(crate) use commands;
