//! `history`: everything that happened to a case, from the log itself, for a person or as JSON lines.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use domain::{
    Event,
    identifier::PrisonerNumber,
    officer::{Pom, PomKind},
    prisoner::{Choice, DeallocationTrigger, PrisonerEvent, ResponsibleService},
};
use http_api::{event::RecordedEvent, instant::KnownAt};
use query::case_log::{Happened, whole_history_known_at};
use serde::Serialize;

use crate::{settings, stores::LogStore};

/// What `history` can be told.
#[derive(Debug, Args)]
pub struct Settings {
    /// The prisoner number, e.g. A1234BC
    prisoner_number: PrisonerNumber,
    /// Leave out what was recorded after this position, instant or London date
    #[arg(long, value_name = "POSITION|INSTANT|DATE")]
    known_at: Option<KnownAt>,
    /// One JSON object a line for each entry
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: settings::Stores,
}

/// An entry as a line of JSON, in the shape that `GET /prisoners/{n}/history` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    prisoner_number: &'a PrisonerNumber,
    voided_by: Option<u64>,
    #[serde(flatten)]
    event: RecordedEvent,
}

/// Prints the history.
///
/// # Errors
/// Nothing is known of the number, or the ledger cannot be read.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let store = LogStore::open_prepared(&settings.stores).await?;
    let store = store.ok_or_else(|| LogStore::missing(&settings.stores))?;
    let read = whole_history_known_at(&store.log, &settings.prisoner_number, settings.known_at).await;
    store.close().await?;
    let history = read.with_context(|| format!("read the history of {}", settings.prisoner_number))?;
    if history.is_empty() {
        match settings.known_at {
            None => bail!("nothing is known of {}: is that the number meant?", settings.prisoner_number),
            Some(_) => bail!(
                "nothing was known of {} at that point: ask without --known-at for what is known now",
                settings.prisoner_number
            ),
        }
    }
    let printed = if settings.json { print_json(&history) } else { print_text(&settings.prisoner_number, &history) };
    match printed {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("print the history"),
    }
}

fn print_json(history: &[Happened]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for happened in history {
        let line = Line {
            prisoner_number: &happened.number,
            voided_by: happened.voided_by,
            event: RecordedEvent::from(&happened.stored),
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn print_text(asked: &PrisonerNumber, history: &[Happened]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let entries = if history.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", history.len()) };
    writeln!(out, "{asked}: {entries}, newest last; times are UTC")?;
    for happened in history {
        writeln!(out, "\n{}", text(asked, happened))?;
    }
    out.flush()
}

/// An entry for a person: when and what, then whatever else was said, then who recorded it.
fn text(asked: &PrisonerNumber, happened: &Happened) -> String {
    let entry = &happened.stored.entry;
    let mut text = format!("{}  ", minutes(entry.effective_at));
    if let Some(by) = happened.voided_by {
        let _ = write!(text, "[voided by entry {by}] ");
    }
    let Event::Prisoner(event) = &entry.event else { return text };
    let said = describe(event);
    text.push_str(&said.sentence);
    let mut line = |words: &str| {
        let _ = write!(text, "\n                  {words}");
    };
    said.remarks.iter().for_each(|remark| line(remark));
    let under =
        if happened.number == *asked { String::new() } else { format!(" under the number {}", happened.number) };
    line(&format!(
        "entry {}{under}, recorded {} by {} with {}",
        entry.revision,
        minutes(entry.recorded_at),
        entry.recorded_by.username,
        entry.recorded_by.client
    ));
    text
}

fn minutes(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M").to_string()
}

/// An event in words.
struct Said {
    sentence: String,
    remarks: Vec<String>,
}

fn describe(event: &PrisonerEvent) -> Said {
    let mut remarks = Vec::new();
    let mut remark = |name: &str, value: Option<String>| remarks.extend(value.map(|value| format!("{name}: {value}")));
    let sentence = match event {
        PrisonerEvent::TierAssigned(tier) => {
            remark("RoSH", tier.rosh_level.as_ref().map(word));
            remark("CRN", tier.crn.as_ref().map(ToString::to_string));
            let held = tier.prison.as_ref().map(|prison| format!(", held at {prison}")).unwrap_or_default();
            format!("Tier {} assigned ({}){held}", tier.tier, word(&tier.source))
        }
        PrisonerEvent::AllocationMade(made) => {
            describe_choice(&made.choice, &mut remark);
            format!("Allocated at {} to {}, tier {}", made.prison, pom(&made.pom), made.choice.tier)
        }
        PrisonerEvent::Reallocated(moved) => {
            remark("reason", Some(moved.reason.clone()));
            describe_choice(&moved.choice, &mut remark);
            let (before, after) = (pom(&moved.pom_before), pom(&moved.pom_after));
            format!("Reallocated at {} from {before} to {after}, tier {}", moved.prison, moved.choice.tier)
        }
        PrisonerEvent::Deallocated(ended) => {
            let at = ended.prison.as_ref().map(|prison| format!(" at {prison}")).unwrap_or_default();
            let from = match &ended.pom {
                Some(holder) => format!(" from {}", pom(holder)),
                None => ", held by nobody".to_owned(),
            };
            let to = ended.to_prison.as_ref().map(|prison| format!(" to {prison}")).unwrap_or_default();
            format!("Deallocated{at}{from}: {}{to}", cause(ended.trigger))
        }
        PrisonerEvent::CoworkerAllocated(made) => {
            format!("Co-working POM at {}: {}", made.prison, pom(&made.pom))
        }
        PrisonerEvent::CoworkerReallocated(moved) => format!(
            "Co-working POM at {}: {} in the place of {}",
            moved.prison,
            pom(&moved.pom_after),
            pom(&moved.pom_before)
        ),
        PrisonerEvent::CoworkerDeallocated(ended) => {
            format!("Co-working POM at {} ended, {}: {}", ended.prison, pom(&ended.pom), cause(ended.trigger))
        }
        PrisonerEvent::CommunityManagerAssigned(manager) => {
            remark("email", manager.email.clone());
            remark("team", manager.team.clone());
            remark("LDU", manager.ldu.clone());
            format!("COM named: {}", manager.name)
        }
        PrisonerEvent::CommunityManagerRemoved(manager) => format!("COM removed: {}", manager.name),
        PrisonerEvent::HandoverPlanned(plan) => {
            let earliest = plan.earliest_release.map(|release| format!("{} {}", word(&release.name), release.date));
            remark("earliest release", earliest);
            let dates = match (plan.start_date, plan.handover_date) {
                (Some(start), Some(handover)) => format!("COM supports from {start}, is responsible from {handover}"),
                (None, Some(handover)) => format!("COM is responsible from {handover}"),
                (_, None) => "no dates".to_owned(),
            };
            format!("Handover planned: {dates} ({})", plan.reason.label())
        }
        PrisonerEvent::ResponsibilityOverridden(made) => {
            remark("detail", made.detail.clone());
            format!("Responsibility overridden: {} ({})", service(made.responsible), word(&made.reason))
        }
        PrisonerEvent::ResponsibilityOverrideRemoved(removed) => {
            format!("Responsibility override removed: {} ({})", service(removed.responsible), word(&removed.reason))
        }
        PrisonerEvent::EntryVoided(voided) => {
            remark("reason", Some(voided.reason.clone()));
            format!("Entry {} voided", voided.revision)
        }
        PrisonerEvent::PrisonerNumberMerged(merged) => {
            format!("Number {} merged into this one", merged.removed_number)
        }
        PrisonerEvent::PrisonerNumberRetired(retired) => {
            format!("Number retired; the case goes on as {}", retired.survivor)
        }
    };
    Said { sentence, remarks }
}

fn describe_choice(choice: &Choice, remark: &mut impl FnMut(&str, Option<String>)) {
    if !choice.override_reasons.is_empty() {
        let reasons: Vec<String> = choice.override_reasons.iter().map(word).collect();
        remark("against the recommendation", Some(reasons.join(", ")));
    }
    remark("suitability", choice.suitability_detail.clone());
    remark("detail", choice.override_detail.clone());
    remark("note", choice.note.clone());
}

fn pom(pom: &Pom) -> String {
    let kind = match pom.kind {
        PomKind::Prison => "prison POM",
        PomKind::Probation => "probation POM",
    };
    format!("{} ({}, {kind})", pom.name, pom.staff_id)
}

fn service(responsible: ResponsibleService) -> &'static str {
    match responsible {
        ResponsibleService::Prison => "the POM is responsible",
        ResponsibleService::Probation => "the COM is responsible",
    }
}

fn cause(trigger: DeallocationTrigger) -> &'static str {
    match trigger {
        DeallocationTrigger::Released => "released",
        DeallocationTrigger::Transferred => "transferred",
        DeallocationTrigger::PomInactive => "the POM became inactive",
        DeallocationTrigger::LegalStatusChanged => "the legal status changed",
        DeallocationTrigger::Merged => "the number was merged",
        DeallocationTrigger::Manual => "ended by hand",
    }
}

/// A value by its name in the API, which is the ledger's own language.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
