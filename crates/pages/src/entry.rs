//! An entry of a history as a sentence.

use domain::text::Excerpt;
use serde_json::Value;

use crate::{
    answers::ShownEntry,
    clocks::{day_of, time},
    words,
};

/// An entry as pages show it.
pub(crate) struct EntryLine {
    pub(crate) revision: u64,
    pub(crate) position: u64,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    /// The number under which it was recorded; `None` where a stream is no person's.
    pub(crate) prisoner_number: Option<String>,
    pub(crate) title: String,
    /// Further facts, one line each.
    pub(crate) details: Vec<String>,
    pub(crate) effective: String,
    pub(crate) recorded: String,
    pub(crate) recorded_by: String,
    /// Whether it was recorded on a later day than it counts from.
    pub(crate) is_backdated: bool,
    pub(crate) voided_by: Option<u64>,
}

impl EntryLine {
    /// Whether people may try to void it: voids and merges stay.
    pub(crate) fn is_voidable(&self) -> bool {
        let stays = ["EntryVoided", "PrisonerNumberMerged", "PrisonerNumberRetired"];
        self.voided_by.is_none() && !stays.contains(&self.event_type.as_str())
    }
}

impl From<&ShownEntry> for EntryLine {
    fn from(entry: &ShownEntry) -> Self {
        let ShownEntry { event_type, data, recorded_by, .. } = entry;
        let recorded_by = match &recorded_by.username {
            Some(username) => username.clone(),
            None if recorded_by.client.is_empty() => "nobody named".to_owned(),
            None => format!("the client {}", recorded_by.client),
        };
        Self {
            revision: entry.revision,
            position: entry.position,
            event_id: entry.event_id.clone(),
            event_type: event_type.clone(),
            prisoner_number: entry.prisoner_number.clone().or_else(|| number_of(&entry.stream)),
            title: title(event_type, data),
            details: details(event_type, data),
            effective: time(entry.effective_at),
            recorded: time(entry.recorded_at),
            recorded_by,
            is_backdated: day_of(entry.effective_at) != day_of(entry.recorded_at),
            voided_by: entry.voided_by,
        }
    }
}

/// The number of the person whose stream it is.
fn number_of(stream: &str) -> Option<String> {
    let number = stream.strip_prefix("prisoner-").or_else(|| stream.strip_prefix("contacts-"))?;
    Some(number.to_owned())
}

fn text<'d>(data: &'d Value, pointer: &str) -> &'d str {
    data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A day in the data, in words.
fn date(data: &Value, pointer: &str) -> Option<String> {
    text(data, pointer).parse().ok().map(crate::clocks::day)
}

fn title(event_type: &str, data: &Value) -> String {
    let name = |pointer| text(data, pointer);
    match event_type {
        "Received" => {
            format!("Came into {}: {}", name("/prison"), words::reception_reason(name("/reason")).to_lowercase())
        }
        "TierAssigned" => match name("/roshLevel") {
            "" => format!("Tier {}", name("/tier")),
            rosh => format!("Tier {}, risk of serious harm {}", name("/tier"), words::rosh(rosh).to_lowercase()),
        },
        "CrnRecorded" => format!("CRN {}", name("/crn")),
        "AllocationMade" => format!("Allocated to {} at {}", name("/pom/name"), name("/prison")),
        "Reallocated" => format!("Reallocated from {} to {}", name("/pomBefore/name"), name("/pomAfter/name")),
        "Deallocated" => match name("/pom/name") {
            "" => format!("Left without a POM: {}", words::deallocation_trigger(name("/trigger"))),
            pom => format!("Allocation to {pom} ended: {}", words::deallocation_trigger(name("/trigger"))),
        },
        "CoworkerAllocated" => format!("{} became co-working POM", name("/pom/name")),
        "CoworkerReallocated" => {
            format!("Co-working POM changed from {} to {}", name("/pomBefore/name"), name("/pomAfter/name"))
        }
        "CoworkerDeallocated" => format!("{} is no longer co-working POM", name("/pom/name")),
        "CommunityManagerAssigned" => format!("COM named: {}", name("/name")),
        "CommunityManagerRemoved" => format!("COM removed: {}", name("/name")),
        "HandoverPlanned" => match date(data, "/handoverDate") {
            Some(day) => format!("Handover planned for {day}: {}", words::plan_reason(name("/reason"))),
            None => format!("Handover plan without a date: {}", words::plan_reason(name("/reason"))),
        },
        "ResponsibilityOverridden" => format!("Responsibility overridden: {}", responsible(name("/responsible"))),
        "ResponsibilityOverrideRemoved" => "Override of responsibility taken back".to_owned(),
        "EntryVoided" => format!("Entry {} voided", data["revision"]),
        "PrisonerNumberMerged" => format!("Number {} merged into this one", name("/removedNumber")),
        "PrisonerNumberRetired" => format!("Number retired; the case goes on as {}", name("/survivor")),
        "PrisonJoinedOmic" => "Prison joined OMiC".to_owned(),
        "PomRegistered" => format!("POM registered: {}", name("/pom/name")),
        "PomStatusChanged" => format!("POM's status became {}", words::pom_status(name("/status")).to_lowercase()),
        other => spaced(other),
    }
}

fn responsible(code: &str) -> &str {
    match code {
        "PRISON" => "the prison is responsible",
        "PROBATION" => "the community is responsible",
        other => other,
    }
}

/// A type's name as words: `PomDetailsChanged` is "Pom details changed".
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(character.to_lowercase());
        } else {
            words.push(character);
        }
    }
    words
}

fn details(event_type: &str, data: &Value) -> Vec<String> {
    let mut details = Vec::new();
    let mut add = |label: &str, value: &str| {
        if !value.is_empty() {
            details.push(format!("{label}: {value}"));
        }
    };
    if event_type == "ResponsibilityOverridden" {
        add("Reason", words::responsibility_reason(text(data, "/reason")));
    } else if event_type != "HandoverPlanned" && event_type != "Received" {
        add("Reason", text(data, "/reason"));
    }
    add("Detail", text(data, "/detail"));
    let reasons = data["overrideReasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let reasons: Vec<_> = reasons.map(words::override_reason).collect();
    add("Not the recommended kind of POM", &reasons.join("; "));
    add("Suitability", text(data, "/suitabilityDetail"));
    add("Other reason", text(data, "/overrideDetail"));
    add("Note", text(data, "/note"));
    if event_type == "HandoverPlanned"
        && let Some(start) = date(data, "/startDate")
    {
        add("COM supports from", &start);
    }
    for (label, pointer) in [("Team", "/team"), ("LDU", "/ldu"), ("Email", "/email")] {
        if event_type.starts_with("CommunityManager") {
            add(label, text(data, pointer));
        }
    }
    details
}

/// Data as people may read it: indented JSON, no longer than a page bears.
pub(crate) fn evidence(data: &Value) -> String {
    let text = serde_json::to_string_pretty(data).unwrap_or_default();
    if text.len() > 20_000 { Excerpt(&text).to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_read_as_sentences() {
        for (event_type, data, expected) in [
            (
                "TierAssigned",
                json!({"tier": "B2", "roshLevel": "VERY_HIGH"}),
                "Tier B2, risk of serious harm very high",
            ),
            (
                "AllocationMade",
                json!({"pom": {"name": "Okafor, Grace"}, "prison": "LEI"}),
                "Allocated to Okafor, Grace at LEI",
            ),
            ("Deallocated", json!({"trigger": "TRANSFERRED"}), "Left without a POM: moved to another prison"),
            (
                "HandoverPlanned",
                json!({"handoverDate": "2027-01-10", "reason": "recall_case"}),
                "Handover planned for 10 January 2027: recall",
            ),
            ("EntryVoided", json!({"revision": 6}), "Entry 6 voided"),
            ("SomethingLater", json!({}), "Something later"),
        ] {
            assert_eq!(title(event_type, &data), expected);
        }
    }

    #[test]
    fn a_choice_shows_its_reasons_in_the_policys_words() {
        let data = json!({"overrideReasons": ["CONTINUITY"], "note": "See soon."});
        assert_eq!(
            details("AllocationMade", &data),
            ["Not the recommended kind of POM: This POM has worked with the prisoner before", "Note: See soon."]
        );
    }
}
