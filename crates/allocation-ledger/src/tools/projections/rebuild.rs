//! `projections rebuild`: the views anew, or as they were, while everything goes on.

use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use event_log::KnownAt;
use http_api::instant::parse_known_at;
use indicatif::ProgressBar;
use projector::{BuiltViews, RebuildScope, View};
use serde_json::json;

use super::status::and_aside;
use crate::{
    interrupt::{interruption, unless_interrupted},
    known_position::position_of,
    progress::WorkProgress,
    shared_settings,
    stdout::print_line,
    stores::Stores,
};

/// The settings of `projections rebuild`.
#[derive(Debug, Args)]
pub struct RebuildSettings {
    /// Build this view alone; the others stay as they are
    #[arg(long, value_name = "NAME", conflicts_with = "as_of")]
    view: Option<View>,
    /// Build the views as they were then, in a schema of their own beside the serving ones
    #[arg(long, value_name = "POSITION|INSTANT|DATE", value_parser = parse_known_at, requires = "schema")]
    as_of: Option<KnownAt>,
    /// Also where the serving views are of another log than this one, which then takes its place in
    /// them
    #[arg(long, conflicts_with_all = ["view", "as_of"])]
    of_other_log: bool,
    /// With --as-of: the name of that schema
    #[arg(long, value_name = "NAME", requires = "as_of")]
    schema: Option<String>,
    /// With --as-of: replace the schema of that name that an earlier --as-of has made
    #[arg(long, requires = "as_of")]
    replace: bool,
    /// One JSON object when done
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Builds.
///
/// # Errors
/// It is refused or fails; the serving views are then as they were.
pub async fn run(settings: &RebuildSettings) -> anyhow::Result<()> {
    Stores::with_existing(&settings.stores, async |stores| {
        if unless_interrupted(build(settings, stores)).await?.is_some() {
            return Ok(());
        }
        projector::drop_unfinished(&stores.views).await.context("drop what was half built")?;
        Err(interruption(
            "the views are as they were, or all new if the swap was just done; what was half built is gone",
        ))
    })
    .await
}

async fn build(settings: &RebuildSettings, stores: &Stores) -> anyhow::Result<()> {
    let started = Instant::now();
    let bar = ProgressBar::no_length();
    let show = &|progress| WorkProgress::from(progress).show(&bar);
    let (BuiltViews { position, streams_aside }, schema) = match (settings.as_of, &settings.schema) {
        (Some(as_of), Some(schema)) => {
            let (position, replace) = (position_of(&stores.log, as_of).await?, settings.replace);
            let built = projector::build_as_of(&stores.log, &stores.views, position, schema, replace, show).await?;
            (built, schema.as_str())
        }
        _ => {
            let what = match settings.view {
                Some(view) => RebuildScope::One(view),
                None if settings.of_other_log => RebuildScope::AllOfOtherLog,
                None => RebuildScope::All,
            };
            (projector::rebuild(&stores.log, &stores.views, what, show).await?, projector::SCHEMA)
        }
    };
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    print_line(&if settings.json {
        let view = settings.view.map(View::name);
        json!({
            "schema": schema, "view": view, "position": position, "streamsAside": streams_aside, "seconds": seconds,
        })
        .to_string()
    } else {
        let what = settings.view.map_or("all views".to_owned(), |view| format!("view {view}"));
        let aside = and_aside(streams_aside);
        format!("built in {seconds:.1} s: {what} of schema {schema}, up to position {position}{aside}")
    })
}
