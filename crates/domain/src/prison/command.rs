//! The commands to a prison.

use chrono::NaiveDate;
use serde::Serialize;

use crate::{
    command::commands,
    named_prisoners::{NamedText, named_text},
    prison::{PomDetailsChanged, PomRegistered, PomStatusChanged, PrisonJoinedOmic},
};

commands! {
    /// A command to a prison. Its effective time and its recorder travel beside it.
    commands: Command, kinds: CommandKind;

    /// Take the prison onto OMiC.
    JoinOmic(PrisonJoinedOmic),
    /// The same for a prison that the program's list of prisons lacks.
    JoinOmicUnlisted(PrisonJoinedOmic),
    /// Correct the go-live date.
    CorrectGoLiveDate(GoLiveCorrection),
    /// Put a POM on the roster.
    RegisterPom(PomRegistered),
    /// Change a POM's name, kind, working pattern or e-mail address.
    ChangePomDetails(PomDetailsChanged),
    /// Change a POM's status.
    ChangePomStatus(PomStatusChanged),
}

impl Command {
    /// The free texts that the caller wrote.
    pub(super) fn texts(&self) -> Vec<NamedText<'_>> {
        let texts = match self {
            Self::JoinOmic(_) | Self::JoinOmicUnlisted(_) => [None, None],
            Self::CorrectGoLiveDate(correction) => [named_text("reason", correction.reason.as_ref()), None],
            Self::RegisterPom(pom) => [Some(("name", pom.name.as_str())), named_text("email", pom.email.as_ref())],
            Self::ChangePomDetails(pom) => {
                [named_text("name", pom.name.as_ref()), named_text("email", pom.email.as_ref())]
            }
            Self::ChangePomStatus(changed) => [named_text("reason", changed.reason.as_ref()), None],
        };
        texts.into_iter().flatten().collect()
    }
}

/// Data of [`Command::CorrectGoLiveDate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoLiveCorrection {
    /// The right date.
    pub go_live_date: NaiveDate,
    /// The reason, in the words of the recorder.
    pub reason: Option<String>,
}
