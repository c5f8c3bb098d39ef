//! `responsibility`: the officer who is responsible for a case, from the log itself, in words or in
//! the shape that `GET /prisoners/{prisonerNumber}/responsibility` answers.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use command::Clock;
use domain::{identifier::PrisonerNumber, london, text::Visible};
use http_api::instant::DateOrInstant;
use query::past::WholeCase;

use super::history::{
    self,
    period::{Stretch, stretches},
};
use crate::{
    shared_settings::{self, QuestionTimeSettings, identifier},
    stdout::print_line,
};

/// The settings of `responsibility`.
#[derive(Debug, Args)]
pub struct ResponsibilitySettings {
    /// The prisoner number, e.g. A1234BC
    #[arg(value_parser = identifier::<PrisonerNumber>)]
    prisoner_number: PrisonerNumber,
    /// The time that is asked about.
    #[command(flatten)]
    time: QuestionTimeSettings,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Prints who is responsible.
///
/// # Errors
/// Nothing is known of the number, or was by then; or the ledger cannot be read.
pub async fn run(settings: &ResponsibilitySettings) -> anyhow::Result<()> {
    let ResponsibilitySettings { prisoner_number: number, time, .. } = settings;
    let on = time.on.map_or_else(|| Clock::system().now(), DateOrInstant::instant);
    let (case, known_until) =
        history::read("responsibility", &settings.stores, number, time.knowledge.known_at).await?;
    let stretch = stretches(&case.periods, known_until).into_iter().find(|of| of.holds_at(on));
    let Some((period, stretch)) = case.period_at(on).zip(stretch) else {
        let begins =
            case.periods.first().map(|of| format!(": what is known of it begins {}", london::clock(of.period.from)));
        bail!("nothing had happened to {} yet on {}{}", case.number, london::clock(on), begins.unwrap_or_default())
    };
    if settings.json {
        let answer = query::responsibility_at(period, on, case.position);
        return print_line(&serde_json::to_string(&answer).context("write the answer as JSON")?);
    }
    let tier = period.period.state.tier.as_ref().map(|tier| format!("tier {}; ", tier.tier)).unwrap_or_default();
    print_line(&Visible(&text(settings, &case, &stretch, on, &tier)).to_string())
}

/// The answer in words.
fn text(
    settings: &ResponsibilitySettings,
    case: &WholeCase,
    stretch: &Stretch,
    on: DateTime<Utc>,
    tier: &str,
) -> String {
    let asked = &settings.prisoner_number;
    let survivor = if case.number == *asked { String::new() } else { format!(", which goes on as {},", case.number) };
    let on = london::clock(on);
    let (from, to) = (london::clock(stretch.from), stretch.to.map_or("no end known".to_owned(), london::clock));
    let planned = if stretch.is_planned { ", as planned" } else { "" };
    format!(
        "{asked}{survivor} on {on}:\n    {who}\n    {from} to {to}{planned}\n    why: {why}\n    {tier}as known at position \
         {position}; times are London's",
        who = stretch.who,
        why = stretch.why,
        position = case.position,
    )
}
