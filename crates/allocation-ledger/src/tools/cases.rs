//! `cases`: the cases of a prison, from the views, as a table or in the shape that
//! `GET /prisons/{prisonCode}/cases` lists.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use access_log::Shown;
use anyhow::{Context as _, bail};
use clap::Args;
use domain::{identifier::PrisonCode, london, prisoner::OfficerRole, text::Visible};
use event_log::Lag;
use http_api::instant::DateOrInstant;
use query::{PrisonCases, QueryState, ViewsCondition, past::PastError, prison_cases, views_condition};

use super::{projections::status::and_aside, read_recording::record_read};
use crate::{
    serve::LAG_MAX_SECONDS,
    shared_settings::{self, QuestionTimeSettings, identifier},
    stdout::{self, table},
    stores::{Stores, read_only},
};

/// The ways to bring the views up to the log.
const TO_DO: &str =
    "`allocation-ledger serve` brings them up to the log, and so does `allocation-ledger projections rebuild`";

/// The settings of `cases`.
#[derive(Debug, Args)]
pub struct CasesSettings {
    /// The prison's code, e.g. LEI
    #[arg(value_name = "PRISON", value_parser = identifier::<PrisonCode>)]
    prison: PrisonCode,
    /// The time that is asked about.
    #[command(flatten)]
    time: QuestionTimeSettings,
    /// One JSON object a line for each case
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Prints the cases.
///
/// # Errors
/// The prison is unknown, there are no views that can answer, or the ledger cannot be read.
pub async fn run(settings: &CasesSettings) -> anyhow::Result<()> {
    let (cases, lag) = Stores::with_existing(&settings.stores, async |stores| {
        let cases = read_prison_cases(stores, &settings.prison, settings.time).await;
        if let Ok((cases, _)) = &cases {
            let shown = Shown::prisoners(cases.cases.iter().map(|case| &case.prisoner_number));
            record_read(Some(&stores.views), "cases", shown).await;
        }
        cases
    })
    .await?;
    stdout::ignore_broken_pipe(if settings.json { print_json(&cases) } else { print_table(settings, &cases) })?;
    if settings.json {
        eprintln!("{}", summary(settings, &cases));
    }
    note_lag(&lag);
    Ok(())
}

/// Says on standard error how far the views are behind, where they are.
pub(super) fn note_lag(lag: &Lag) {
    if lag.events > 0 {
        eprintln!("This is from the views, which follow the log and lack {lag} of its events: {TO_DO}.");
    }
}

/// Not asked about here.
const LAG_MAX: Duration = Duration::from_secs(LAG_MAX_SECONDS);

/// Reads the cases of a prison from the views, and how far these are behind the log; not at all, of
/// an earlier point.
///
/// # Errors
/// The prison is unknown, there are no views that can answer, or the ledger cannot be read.
pub(super) async fn read_prison_cases(
    stores: &Stores,
    prison: &PrisonCode,
    time: QuestionTimeSettings,
) -> anyhow::Result<(PrisonCases, Lag)> {
    let readers = read_only(&stores.views);
    let cases = read(prison, time, stores, &QueryState::new(readers.clone(), stores.log.clone(), LAG_MAX)).await;
    readers.close().await;
    cases
}

async fn read(
    prison: &PrisonCode,
    QuestionTimeSettings { on, knowledge }: QuestionTimeSettings,
    stores: &Stores,
    state: &QueryState,
) -> anyhow::Result<(PrisonCases, Lag)> {
    let reading = || format!("read the cases of {prison}");
    match views_condition(state).await.with_context(reading)? {
        ViewsCondition::Usable => {}
        ViewsCondition::Missing => bail!("this ledger has no views yet, which have the cases of a prison: {TO_DO}"),
        ViewsCondition::OfOtherLog => bail!(
            "the views are of another log than the one configured: name their own, or build them anew from this one with \
             `allocation-ledger projections rebuild --of-other-log`"
        ),
        ViewsCondition::Outdated => bail!("the views are of another version than this program's: {TO_DO}"),
    }
    let cases = match prison_cases(state, prison, on.map(DateOrInstant::instant), knowledge.known_at).await {
        Err(ahead @ PastError::Ahead { .. }) => return Err(ahead.into()),
        Err(PastError::ViewsBehind) => bail!("the views have not come to that point yet: {TO_DO}"),
        cases => cases.with_context(reading)?,
    };
    let Some(cases) = cases else {
        bail!("{} The ledger knows nothing of it either: is that the code meant?", prison.unlisted_sentence())
    };
    let lag = match knowledge.known_at {
        None => Lag::measure(&stores.log, cases.position).await.with_context(reading)?,
        Some(_) => Lag { events: 0, since: None },
    };
    Ok((cases, lag))
}

fn print_json(cases: &PrisonCases) -> io::Result<()> {
    let mut out = stdout::lock();
    for case in &cases.cases {
        serde_json::to_writer(&mut out, &query::case_item(case))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn print_table(settings: &CasesSettings, cases: &PrisonCases) -> io::Result<()> {
    let mut out = stdout::lock();
    let mut shown = table(&["Prisoner", "Tier", "Responsible", "Supporting", "Handover", "Waits since"]);
    for case in &cases.cases {
        let officer = |role: Option<OfficerRole>| match role {
            None => String::new(),
            Some(OfficerRole::Pom) => {
                case.pom.as_ref().map_or("POM not allocated".to_owned(), |pom| format!("{} (POM)", pom.name))
            }
            Some(OfficerRole::Com) => {
                case.com.as_ref().map_or("COM not named".to_owned(), |com| format!("{} (COM)", com.name))
            }
        };
        shown.add_row([
            case.prisoner_number.to_string(),
            case.tier.map(|tier| tier.to_string()).unwrap_or_default(),
            officer(case.responsible),
            officer(case.supporting),
            case.plan.and_then(|plan| plan.handover_date).map(|date| date.to_string()).unwrap_or_default(),
            case.waiting.map(|waiting| london::date(waiting.since).to_string()).unwrap_or_default(),
        ]);
    }
    if shown.row_count() > 0 {
        writeln!(out, "{}\n", Visible(&shown.to_string()))?;
    }
    writeln!(out, "{}", summary(settings, cases))?;
    out.flush()
}

/// The count and the extent of the list, a sentence a line.
fn summary(settings: &CasesSettings, cases: &PrisonCases) -> String {
    let PrisonCases { position, streams_aside, on, cases } = cases;
    let prison = &settings.prison;
    let name = prison.listed_name().map(|name| format!(" ({name})")).unwrap_or_default();
    let waiting = cases.iter().filter(|case| case.waiting.is_some()).count();
    let count = if cases.len() == 1 { "1 case".to_owned() } else { format!("{} cases", cases.len()) };
    let (on, aside) = (london::clock(*on), and_aside(*streams_aside));
    format!(
        "{count} at {prison}{name} on {on}, {waiting} waiting to be allocated.\nAs known at position {position}{aside}."
    )
}
