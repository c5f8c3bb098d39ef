//! Schemas of the identifiers, points in time and texts, for the crates that describe an HTTP API.
//! The enums of [`words`](crate::words) have theirs by their declaration.
//!
//! A pattern says what the type's parser takes, no more and no less, as far as a regular expression
//! of JSON Schema can: a client may check with it before it sends.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type, schema::Schema},
};

use crate::{
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId, Username},
    moment::Instant,
    officer::WorkingPattern,
    prisoner::NOTE_LEN_MAX,
    refusal::DETAIL_LEN_MAX,
    text::{LEN_MAX, Lines, ReasonText, Text},
    tier::Tier,
};

/// A sample of each event, one a line: its stream, its type and its data. Lines that are kept for
/// the sake of an older spelling come after the first one of their type.
pub const EVENT_SAMPLES: &str = include_str!("../tests/data/events.jsonl");

/// The characters that no text has, as the inside of a class. Those beyond U+FFFF are left out: the
/// regular expressions of some languages know none.
macro_rules! refused_characters {
    () => {
        r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff"
    };
}

/// The characters that end a line, as the inside of a class.
macro_rules! line_ends {
    () => {
        r"\u0009\u000a\u000d\u2028\u2029"
    };
}

/// White space, as the inside of a class.
macro_rules! white_space {
    () => {
        r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// The other characters in which nothing can be seen and that a text may have, as the inside of a
/// class.
macro_rules! invisible_characters {
    () => {
        concat!(
            r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f",
            r"\u200b-\u200f\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\u2800\ufff9-\ufffb"
        )
    };
}

/// The characters that turn the direction of a text, as the inside of a class.
macro_rules! turning_characters {
    () => {
        r"\u202a-\u202e\u2066-\u2069"
    };
}

/// The texts that [`Text`] and [`ReasonText`] take: one line, in which something can be seen.
pub const LINE_PATTERN: &str = concat!(
    "^[",
    white_space!(),
    "]*[^",
    refused_characters!(),
    line_ends!(),
    "]*[^",
    refused_characters!(),
    line_ends!(),
    invisible_characters!(),
    "][^",
    refused_characters!(),
    line_ends!(),
    "]*[",
    white_space!(),
    "]*$"
);

/// The texts that [`Lines`] takes. Where nothing can be seen, a rule refuses it, or none does.
pub const LINES_PATTERN: &str = concat!(
    "^(?:[^",
    refused_characters!(),
    "]*|[",
    invisible_characters!(),
    line_ends!(),
    turning_characters!(),
    "]*)$"
);

/// The years of [`YEARS`](crate::moment::YEARS) at the start of a date, and its form.
macro_rules! date_pattern {
    () => {
        "(?:19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}"
    };
}

/// The spelling of a [`Date`](crate::moment::Date).
pub const DATE_PATTERN: &str = concat!("^", date_pattern!(), "$");

/// The spelling of an [`Instant`].
pub const INSTANT_PATTERN: &str = concat!(
    "^",
    date_pattern!(),
    r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
);

/// A text in JSON, with its description.
fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

/// Declares the schemas of types that are a text or a number in JSON.
macro_rules! scalar_schemas {
    ($($type:ty => $schema:expr,)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                RefOr::from($schema.build())
            }
        }

        impl ToSchema for $type {}
    )*};
}

scalar_schemas! {
    PrisonerNumber => text("NOMS number of a person in prison: one letter, four digits, two letters.")
        .pattern(Some("^[A-Z][0-9]{4}[A-Z]{2}$"))
        .examples(["A1000AA"]),
    PrisonCode => text("Agency code of an establishment.").pattern(Some("^[A-Z]{3}$")).examples(["LEI"]),
    Crn => text("Number of the case in Delius.").pattern(Some("^[A-Z][0-9]{6}$")).examples(["X123456"]),
    Username => text("Username of a recorder, in upper case.")
        .pattern(Some("^[A-Z0-9_.@'-]{1,254}$"))
        .examples(["JBLOGGS_GEN"]),
    Tier => text(
        "A letter A to G, optionally with a change level 0 to 3 and an `S` for a case that is not supervised now.",
    )
        .pattern(Some("^[A-G][0-3]?S?$"))
        .examples(["B2"]),
    StaffId => ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some("NOMIS staff id."))
        .minimum(Some(1_i64))
        .maximum(Some((1_i64 << 53) - 1))
        .examples([485_926]),
    WorkingPattern => ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some("Share of full time, in tenths."))
        .minimum(Some(0.1))
        .maximum(Some(1.0))
        .examples([0.6]),
    LondonDate => date_schema(),
    Instant => instant_schema(),
    Text => text("Text in one line, in which something can be seen.")
        .min_length(Some(1))
        .max_length(Some(LEN_MAX))
        .pattern(Some(LINE_PATTERN)),
    ReasonText => text("A reason in one line, in which something can be seen.")
        .min_length(Some(1))
        .max_length(Some(DETAIL_LEN_MAX))
        .pattern(Some(LINE_PATTERN)),
    Detail => text("Text, which may have several lines.")
        .max_length(Some(DETAIL_LEN_MAX))
        .pattern(Some(LINES_PATTERN)),
    Note => text("Text, which may have several lines.")
        .max_length(Some(NOTE_LEN_MAX))
        .pattern(Some(LINES_PATTERN)),
    Lines => text("Text, which may have several lines.").pattern(Some(LINES_PATTERN)),
}

/// The schema of a date.
fn date_schema() -> ObjectBuilder {
    text("A London date in the years 1900 to 2199.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
        .pattern(Some(DATE_PATTERN))
        .examples(["2026-03-01"])
}

/// The schema of an instant.
fn instant_schema() -> ObjectBuilder {
    text("An instant in the years 1900 to 2199, with `Z` or an offset.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .pattern(Some(INSTANT_PATTERN))
        .examples(["2026-03-01T09:00:00Z"])
}

/// The schema of a [`Date`](crate::moment::Date), whose own name the derive of schemas takes for
/// that of another type.
#[derive(Debug, Clone, Copy)]
pub struct LondonDate;

/// The schema of a detail: [`Lines`] of which a rule bounds the length.
#[derive(Debug, Clone, Copy)]
pub struct Detail;

/// The schema of a note to a POM: [`Lines`] of which a rule bounds the length.
#[derive(Debug, Clone, Copy)]
pub struct Note;
