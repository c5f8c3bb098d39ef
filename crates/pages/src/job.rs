//! A rebuild, verification or export of the views, as pages show it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::clocks::time;

/// A job of the projector's service.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownJob {
    pub(crate) id: Uuid,
    kind: String,
    view: Option<String>,
    pub(crate) state: String,
    begun_at: DateTime<Utc>,
    requested_by: Option<String>,
    failure: Option<String>,
    file_until: Option<DateTime<Utc>>,
    progress: JobProgress,
    result: Option<JobOutcome>,
}

#[derive(Deserialize)]
struct JobProgress {
    stage: Option<String>,
    done: Option<u64>,
    of: Option<u64>,
}

#[derive(Deserialize)]
struct JobOutcome {
    position: u64,
    rows: Option<u64>,
    differences: Option<u64>,
}

impl ShownJob {
    pub(crate) fn is_running(&self) -> bool {
        self.state == "RUNNING"
    }

    pub(crate) fn has_file(&self) -> bool {
        self.file_until.is_some()
    }

    /// The work, in words.
    pub(crate) fn title(&self) -> String {
        let kind = match self.kind.as_str() {
            "REBUILD" => "Rebuild",
            "VERIFY" => "Verification",
            "EXPORT" => "Export",
            other => other,
        };
        format!("{kind} of {}", self.view.as_deref().unwrap_or("all views"))
    }

    pub(crate) fn begun(&self) -> String {
        let person = self.requested_by.as_deref().unwrap_or("nobody named");
        format!("{} by {person}", time(self.begun_at))
    }

    /// How far it has come, or how it ended.
    pub(crate) fn outcome(&self) -> String {
        match (self.state.as_str(), &self.result) {
            ("RUNNING", _) => match (&self.progress.stage, self.progress.done, self.progress.of) {
                (Some(stage), Some(done), Some(of)) => format!("{}: {done} of {of}", stage_words(stage)),
                (Some(stage), Some(done), None) => format!("{}: {done}", stage_words(stage)),
                (Some(stage), ..) => stage_words(stage),
                (None, ..) => "At work".to_owned(),
            },
            ("DONE", Some(JobOutcome { differences: Some(0), position, .. })) => {
                format!("No difference up to position {position}")
            }
            ("DONE", Some(JobOutcome { differences: Some(differences), .. })) => {
                format!("{differences} rows differ from the log")
            }
            ("DONE", Some(JobOutcome { rows: Some(rows), position, .. })) => {
                format!("{rows} rows up to position {position}")
            }
            ("DONE", _) => "Done".to_owned(),
            ("CANCELLED", _) => "Cancelled".to_owned(),
            (_, _) => self.failure.clone().unwrap_or_else(|| "Failed".to_owned()),
        }
    }

    /// How far it has come, for a picture.
    pub(crate) fn share(&self) -> Option<(u64, u64)> {
        self.progress.done.zip(self.progress.of)
    }
}

/// The code of a stage of the work as words.
fn stage_words(code: &str) -> String {
    let words = code.to_lowercase().replace('_', " ");
    let mut characters = words.chars();
    characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default() + characters.as_str()
}
