//! Logs and traces: lines on standard error, for people or for programs, and spans for an
//! OpenTelemetry collector, where the variables of OpenTelemetry name one. Output goes to standard
//! output and is never mixed in.
//!
//! Neither may identify a person: no names, notes or prisoner numbers, no paths or queries, which
//! hold them, and no text that was put together from what a client sent or the log holds.
//! Positions, codes and correlation ids lead to the rest.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    io::{self, IsTerminal as _},
    panic,
};

use anyhow::{Context as _, bail};
use chrono::SecondsFormat;
use clap::{Args, ValueEnum};
use command::Clock;
use domain::text::{Excerpt, Visible};
use event_log::EXPORTED;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde_json::json;
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, fmt, layer::SubscriberExt as _, registry, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// The service's name, where `OTEL_SERVICE_NAME` gives no other.
const SERVICE_NAME: &str = "allocation-ledger";

/// The filter of the log of a tool, where the settings give no other.
pub const TOOL_LOG_FILTER: &str = "warn,sqlx_core::pool=error,sqlx::pool=error,sqlx::query=error,kurrentdb=off";

/// The heading in the help over the settings of the log.
const LOGGING: &str = "Logging";

/// How the program logs.
#[derive(Debug, Clone, Args)]
pub struct TelemetrySettings {
    /// The filter of the log: a level (error, warn, info, debug, trace), or levels by part, e.g.
    /// `info,projector=debug`. Default: `info` for `serve` and `demo`, `warn` for the tools
    #[arg(long, env = "LEDGER_LOG", value_name = "FILTER", global = true, help_heading = LOGGING)]
    log: Option<String>,
    /// How lines of the log are written. Default: `text` on a terminal, else `json`
    #[arg(long, env = "LEDGER_LOG_FORMAT", value_enum, global = true, help_heading = LOGGING)]
    log_format: Option<LogFormat>,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TelemetrySettings {
    /// How lines of the log are written.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        let by_default = if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
        self.log_format.unwrap_or(by_default)
    }

    /// The format that the settings give, where they give one.
    #[must_use]
    pub fn format_asked_for(&self) -> Option<LogFormat> {
        self.log_format
    }
}

/// Whether lines of the log are JSON by the environment, for when the settings could not be read.
#[must_use]
pub fn is_json_by_variable() -> bool {
    env::var("LEDGER_LOG_FORMAT").is_ok_and(|format| format == "json")
}

/// Writes why the program fails. JSON looks as a line of the log does, but does not go through the
/// log, which may not have begun or may leave such lines out.
pub fn tell_failure(format: LogFormat, reason: &str) {
    match format {
        // It may name a sheet or a heading of a file.
        LogFormat::Text => eprintln!("error: {}", Visible(reason)),
        LogFormat::Json => {
            let timestamp = Clock::system().now().to_rfc3339_opts(SecondsFormat::Micros, true);
            let message = format!("the program fails: {reason}");
            let target = "allocation_ledger";
            let line = json!({"timestamp": timestamp, "level": "ERROR", "message": message, "reason": reason, "target": target});
            eprintln!("{line}");
        }
    }
}

/// Logging and exporting, to be ended with the program.
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// It reads the URLs of databases, and logs the values of parameters that it does not know. One may
/// be a password; the program names such parameters itself.
const URL_READER: &str = "sqlx_postgres::options";

/// Starts logging, and exporting where that is asked for. `default_filter` counts where the
/// settings give no filter. Must not be called inside an async runtime, in which the exporter's
/// HTTP client panics.
///
/// # Errors
/// The filter, or the variables of OpenTelemetry, cannot be read.
pub fn start(settings: &TelemetrySettings, default_filter: &str) -> anyhow::Result<Telemetry> {
    // A variable of a container may be set and empty.
    let filter = match settings.log.as_deref().filter(|filter| !filter.is_empty()) {
        Some(filter) => read_filter(filter).with_context(|| {
            format!("read `{}`, given by --log or LEDGER_LOG, as a filter of the log", Excerpt(filter))
        })?,
        None => EnvFilter::new(default_filter),
    };
    let filter = filter.add_directive(format!("{EXPORTED}=off").parse().context("leave out what is exported")?);
    let filter = filter.add_directive(format!("{URL_READER}=off").parse().context("leave out values of URLs")?);
    let format = settings.format();
    let spans = build_exporter()?;
    match &spans {
        // One filter for everything: it answers once for each place in the code, and never again.
        None => registry().with(filter).with(line_layer(format)).init(),
        Some(spans) => {
            let exported = Targets::new()
                .with_target(EXPORTED, LevelFilter::INFO)
                .with_target("projector", Level::DEBUG)
                .with_target(URL_READER, LevelFilter::OFF)
                .with_default(LevelFilter::WARN);
            let exported = tracing_opentelemetry::layer()
                .with_tracer(spans.tracer(SERVICE_NAME))
                .with_threads(false)
                .with_location(false)
                .with_filter(exported);
            registry().with(line_layer(format).with_filter(filter)).with(exported).init();
        }
    }
    log_panics();
    Ok(Telemetry { spans })
}

/// Reads a filter. A word that is no level would be taken for a part of the program, and silence
/// all others.
fn read_filter(filter: &str) -> anyhow::Result<EnvFilter> {
    let is_word = |directive: &&str| !directive.is_empty() && !directive.contains(['=', '[']);
    let words = filter.split(',').map(str::trim).filter(is_word);
    if let Some(word) = words.into_iter().find(|word| word.parse::<LevelFilter>().is_err()) {
        bail!(
            "`{}` is no level: give error, warn, info, debug, trace or off, or a part with its level, such as \
             projector=debug",
            Excerpt(word)
        );
    }
    Ok(EnvFilter::try_new(filter)?)
}

impl Telemetry {
    /// Exports the last spans.
    pub fn end(self) {
        if let Some(spans) = self.spans
            && let Err(error) = spans.shutdown()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last spans were not exported");
        }
    }
}

fn line_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal() && !is_set("NO_COLOR")).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// Whether a variable of the environment is there and not empty, as `NO_COLOR` asks
/// (<https://no-color.org>).
fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The exporter of spans, set up by the variables of OpenTelemetry:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
fn build_exporter() -> anyhow::Result<Option<SdkTracerProvider>> {
    let is = |name, wanted| env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case(wanted));
    let endpoint = is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    if !endpoint || is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    // This fails where another part of the program has installed the same provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder()
        .with_http()
        .build()
        .context("export spans as the variables OTEL_EXPORTER_OTLP_… say: the protocol is http/protobuf")?;
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|attributes| attributes.contains("service.name="));
    if !is_named && !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(SERVICE_NAME);
    }
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
}

/// Logs panics as other lines of the log. A text that was put together at run time may hold
/// personal data, so only a text that is in the code is logged; the place always is.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&str>().copied();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(place, text, backtrace, "the program panicked at {place}, which is a bug");
    }));
}
