//! `projections status`: how far each view has come.

use access_log::Shown;
use anyhow::Context as _;
use clap::Args;
use comfy_table::CellAlignment;
use command::Clock;
use domain::{Stream, identifier::PrisonerNumber};
use projector::{AsOfSchema, STREAMS_ASIDE_MAX, StoppedStream, StreamAside, ViewStatus, ViewsStatus};
use serde_json::{Value, json};

use crate::{
    shared_settings,
    stdout::{print_line, table},
    stores::Stores,
    tools::read_recording::record_read,
};

/// The name of the tool, in the access log.
const TOOL: &str = "projections status";

/// The settings of `projections status`.
#[derive(Debug, Args)]
pub struct StatusSettings {
    /// One JSON object a line for each view
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Prints the state of the views.
///
/// # Errors
/// The ledger cannot be read.
pub async fn run(settings: &StatusSettings) -> anyhow::Result<()> {
    let (views, as_of) = Stores::with_existing(&settings.stores, read).await?;
    print_line(&if settings.json { json_lines(&views, &as_of) } else { text(&views, &as_of) })
}

async fn read(stores: &Stores) -> anyhow::Result<(ViewsStatus, Vec<AsOfSchema>)> {
    let views = projector::status(&stores.log, &stores.views).await.context("read how the views are")?.context(
        "this ledger has no views yet: start `allocation-ledger serve`, which makes them, or use `projections rebuild`",
    )?;
    let as_of = projector::as_of_schemas(&stores.views).await.context("look for views as of earlier positions")?;
    let named = views.aside.iter().chain(views.stopped.iter().map(|stopped| &stopped.aside));
    record_read(Some(&stores.views), TOOL, Shown::prisoners(named.filter_map(prisoner_of))).await;
    Ok((views, as_of))
}

/// The prisoner number that a stream aside names.
pub(super) fn prisoner_of(aside: &StreamAside) -> Option<&PrisonerNumber> {
    aside.stream.person()
}

fn json_lines(views: &ViewsStatus, as_of: &[AsOfSchema]) -> String {
    let each = views.views.iter().map(|ViewStatus { view, rows, bytes }| {
        json!({
            "view": view.name(), "version": views.version, "position": views.position,
            "lagEvents": views.lag.events, "lagSeconds": views.lag_seconds(Clock::system().now()),
            "rows": rows, "bytes": bytes, "state": views.state(),
        })
    });
    let aside = views.aside.iter().map(aside_json);
    let stopped = views.stopped.iter().map(|stopped| stopped_json(stopped, views.stopped.len()));
    let building = views.building.iter().map(|schema| json!({"schema": schema, "state": "BUILDING"}));
    let as_of =
        as_of.iter().map(|AsOfSchema { schema, what }| json!({"schema": schema, "state": "AS_OF", "what": what}));
    let lines: Vec<String> =
        each.chain(aside).chain(stopped).chain(building).chain(as_of).map(|line| line.to_string()).collect();
    lines.join("\n")
}

/// A stream that the views leave out, as a JSON line.
pub(super) fn aside_json(aside: &StreamAside) -> Value {
    json!({
        "stream": aside.stream.to_string(), "state": "ASIDE", "position": aside.position, "revision": aside.revision,
        "eventId": aside.event_id.0, "eventType": aside.event_type, "mergedInto": aside.merged_into,
        "sqlState": aside.sql_state, "reason": aside.reason,
    })
}

/// A stream that the views leave out, in words.
pub(super) fn aside_text(aside: &StreamAside) -> String {
    format!("aside: {}", refusal_text(aside, "its rows"))
}

fn refusal_text(aside: &StreamAside, rows: &str) -> String {
    let StreamAside { stream, position, revision, event_id, event_type, sql_state, reason, .. } = aside;
    format!(
        "{stream}, from its {event_type} on (position {position}, revision {revision}, event {}): Postgres refuses \
         {rows}: {reason} ({sql_state})",
        event_id.0
    )
}

/// A stream for which an automatic rebuild stopped, one of several, as a JSON line.
fn stopped_json(stopped: &StoppedStream, streams: usize) -> Value {
    let mut line = aside_json(&stopped.aside);
    line["state"] = json!("STOPPED_REBUILD");
    line["version"] = json!(stopped.version);
    line["toDo"] = json!(to_do(&stopped.aside, streams));
    line
}

/// A stream for which an automatic rebuild stopped, one of several, in words.
fn stopped_text(StoppedStream { version, aside }: &StoppedStream, streams: usize) -> String {
    let refusal = refusal_text(aside, &format!("its rows of version {version} of the views"));
    format!("stopped a rebuild: {refusal}; to go on, {}", to_do(aside, streams))
}

/// The ways on from a stream for which a rebuild stopped, one of several. A prison takes no void,
/// nor do contacts in NOMIS or a number that was merged.
fn to_do(aside: &StreamAside, streams: usize) -> String {
    let is_voidable = matches!(aside.stream, Stream::Prisoner(_)) && aside.merged_into.is_none();
    let void = if is_voidable { "void that entry, or " } else { "" };
    if streams > STREAMS_ASIDE_MAX {
        format!(
            "{void}run a mended program: the projector goes on by itself once no more than {STREAMS_ASIDE_MAX} are refused"
        )
    } else {
        format!(
            "{void}go back to the program that made the views, or run `projections rebuild`, which leaves the stream out"
        )
    }
}

/// Ends a sentence with the number of streams aside, if any is.
pub(in crate::tools) fn and_aside(streams: usize) -> String {
    match streams {
        0 => String::new(),
        1 => "; 1 case or prison is left out".to_owned(),
        _ => format!("; {streams} cases and prisons are left out"),
    }
}

/// The state, which all views have in common, and a table of their sizes.
fn text(views: &ViewsStatus, as_of: &[AsOfSchema]) -> String {
    let ViewsStatus { version, position, lag, .. } = views;
    let mut text = format!("{}: version {version} of the views, at position {position}", views.state());
    if lag.events > 0 {
        let seconds = views.lag_seconds(Clock::system().now());
        text.push_str(&format!("; they lack {lag} events, the first of them recorded {seconds:.1} s ago"));
    }
    let mut sizes = table(&["view", "rows", "MB"]);
    for ViewStatus { view, rows, bytes } in &views.views {
        sizes.add_row([
            view.to_string(),
            rows.map_or_else(|| "none".to_owned(), |rows| rows.to_string()),
            format!("{:.1}", *bytes as f64 / 1e6),
        ]);
    }
    for index in [1, 2] {
        if let Some(column) = sizes.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push_str(&format!("\n{sizes}"));
    if !views.is_of_log {
        text.push_str(
            "\nthe views are of another log than the one configured: name their own, or build them anew from this one with \
             `allocation-ledger projections rebuild --of-other-log`",
        );
    }
    text.extend(views.aside.iter().map(|aside| format!("\n{}", aside_text(aside))));
    let stopped = views.stopped.iter().map(|stopped| stopped_text(stopped, views.stopped.len()));
    text.extend(stopped.map(|stopped| format!("\n{stopped}")));
    text.extend(views.building.iter().map(|schema| format!("\nbeing built: schema {schema}")));
    text.extend(as_of.iter().map(|AsOfSchema { schema, what }| format!("\nschema {schema}: {what}")));
    text
}
