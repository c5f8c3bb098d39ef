//! The OpenAPI document says what the program takes and answers: patterns, words, events, tags.

use std::collections::BTreeSet;

use domain::{
    Event, Stream,
    identifier::{Crn, PrisonCode, PrisonerNumber},
    moment::{Date, Instant},
    prison::PrisonEvent,
    prisoner::PrisonerEvent,
    text::{Lines, ReasonText, Text},
    tier::Tier,
};
use fancy_regex::Regex;
use serde_json::{Value, json};

use crate::support::{ledger::Ledger, topology::require_single_program};

async fn document() -> Value {
    Ledger::start_all_roles().await.client().get("/openapi.json").await.body
}

fn schemas(document: &Value) -> &serde_json::Map<String, Value> {
    document["components"]["schemas"].as_object().expect("schemas")
}

/// The operations, each with its method and path.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().expect("paths").iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations");
        item.iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// Checks that the pattern of a schema matches the texts that a type takes, and no other.
#[track_caller]
fn check_pattern(document: &Value, schema: &str, texts: &[String], takes: impl Fn(&str) -> bool) {
    let pattern = schemas(document)[schema]["pattern"].as_str().unwrap_or_else(|| panic!("{schema} has no pattern"));
    let pattern = Regex::new(pattern).expect("a regular expression");
    let mut taken = 0;
    for text in texts {
        let is_taken = takes(text);
        assert_eq!(pattern.is_match(text).expect("a pattern that ends"), is_taken, "{schema}: {text:?}");
        taken += usize::from(is_taken);
    }
    assert!((1..texts.len()).contains(&taken), "{schema}: {taken} of {} texts are taken", texts.len());
}

/// Short texts with each character up to U+FFFF, alone and beside a letter or white space.
fn texts_of_each_character() -> Vec<String> {
    let characters = (0..=0xffff).filter_map(char::from_u32);
    // Of the letters of the world, one in a hundred.
    let characters = characters.filter(|c| !c.is_alphabetic() || u32::from(*c) % 100 == 0);
    characters.flat_map(|c| [c.to_string(), format!("a{c}b"), format!("{c}a"), format!("\u{202e}{c}\n")]).collect()
}

#[tokio::test]
async fn the_patterns_of_texts_match_what_is_taken() {
    require_single_program();
    let document = document().await;
    let texts = texts_of_each_character();
    check_pattern(&document, "Text", &texts, |text| Text::try_from(text.to_owned()).is_ok());
    check_pattern(&document, "ReasonText", &texts, |text| ReasonText::try_from(text.to_owned()).is_ok());
    check_pattern(&document, "Note", &texts, |text| Lines::try_from(text.to_owned()).is_ok());
    check_pattern(&document, "Detail", &texts, |text| Lines::try_from(text.to_owned()).is_ok());
}

#[tokio::test]
async fn the_patterns_of_identifiers_match_what_is_taken() {
    require_single_program();
    let document = document().await;
    let texts = [
        "A1234BC", "a1234bc", "A1234B", "A1234BCD", "LEI", "lei", "LE", "LEID", "X123456", "X12345", "x123456", "A",
        "B2", "B2S", "AS", "H", "B4", "b2", "", " ",
    ]
    .map(str::to_owned);
    check_pattern(&document, "PrisonerNumber", &texts, |text| text.parse::<PrisonerNumber>().is_ok());
    check_pattern(&document, "PrisonCode", &texts, |text| text.parse::<PrisonCode>().is_ok());
    check_pattern(&document, "Crn", &texts, |text| text.parse::<Crn>().is_ok());
    check_pattern(&document, "Tier", &texts, |text| text.parse::<Tier>().is_ok());
    // Whether the day exists is for the format to say.
    let dates =
        ["2026-03-01", "1900-01-01", "2199-12-31", "1899-12-31", "2200-01-01", "2026-3-1", "20260301", "+2026-03-01"];
    check_pattern(&document, "LondonDate", &dates.map(str::to_owned), |text| text.parse::<Date>().is_ok());
    let instants = [
        "2026-03-01T09:00:00Z",
        "2026-03-01T09:00:00.25+01:00",
        "2026-03-01T09:00:00-23:59",
        "2026-03-01T09:00:00+24:00",
        "2026-03-01t09:00:00Z",
        "2026-03-01 09:00:00Z",
        "2026-03-01T09:00:00",
        "2026-03-01T09:00Z",
        "2200-03-01T09:00:00Z",
    ];
    check_pattern(&document, "Instant", &instants.map(str::to_owned), |text| text.parse::<Instant>().is_ok());
}

/// The texts that a request takes as they are: those of the older services, an entity tag, and an
/// identifier that the ledger does not look at.
const FREE_TEXTS: [&str; 12] = [
    "get /api/allocation/{prisonerNumber}: prisonerNumber",
    "get /api/allocation/{prisonerNumber}/primary_pom: prisonerNumber",
    "get /api/handovers/{prisonerNumber}: prisonerNumber",
    "get /poms/{staffIds}: staffIds",
    "get /subject-access-request: crn",
    "post /allocation/active",
    "post /allocation: email",
    "post /prisons/{prisonCode}/spreadsheets: file-name",
    "post /prisons/{prisonCode}/spreadsheets: map",
    "post /prisons/{prisonCode}/spreadsheets: pom-kind",
    "post /prisons/{prisonCode}/spreadsheets: sheet",
    "If-None-Match",
];

/// Collects the texts in a schema that have no words and no pattern, and are no UUIDs, by member.
fn collect_free_texts(document: &Value, schema: &Value, name: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(&reference[1..]).expect("a schema");
        return collect_free_texts(document, target, name, found);
    }
    let is_text =
        schema["type"] == "string" || schema["type"].as_array().is_some_and(|types| types.contains(&json!("string")));
    if is_text && schema["enum"].is_null() && schema["pattern"].is_null() && schema["format"] != "uuid" {
        found.insert(name.to_owned());
    }
    for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
        collect_free_texts(document, schema, &format!("{name}: {member}"), found);
    }
    for part in ["oneOf", "anyOf", "allOf"].iter().flat_map(|word| schema[*word].as_array().into_iter().flatten()) {
        collect_free_texts(document, part, name, found);
    }
    if schema["type"] == "array" {
        collect_free_texts(document, &schema["items"], name, found);
    }
}

#[tokio::test]
async fn every_operation_may_answer_that_there_is_no_room_but_those_of_probes() {
    require_single_program();
    let document = document().await;
    let is_probe = |name: &str| ["/health", "/ping", "/info", "/metrics"].iter().any(|path| name.contains(path));
    for (name, operation) in operations(&document) {
        for status in ["429", "503"] {
            assert!(is_probe(&name) || operation["responses"][status].is_object(), "{name}: {status}");
        }
        assert!(!is_probe(&name) || operation["responses"]["429"].is_null(), "{name}");
    }
}

#[tokio::test]
async fn every_text_of_a_request_is_described_by_words_or_a_pattern() {
    require_single_program();
    let document = document().await;
    let mut found = BTreeSet::new();
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter_name = parameter["name"].as_str().expect("a name");
            let of_all = parameter_name == "If-None-Match";
            let name = if of_all { parameter_name.to_owned() } else { format!("{name}: {parameter_name}") };
            collect_free_texts(&document, &parameter["schema"], &name, &mut found);
        }
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            collect_free_texts(&document, schema, &name, &mut found);
        }
    }
    assert_eq!(found, FREE_TEXTS.map(str::to_owned).into());
}

#[tokio::test]
async fn known_words_of_answers_are_listed_and_others_are_allowed() {
    require_single_program();
    let document = document().await;
    let types: Vec<_> = Event::type_names().collect();
    let codes: Vec<_> = http_api::ProblemCode::all().map(http_api::ProblemCode::code).collect();
    for (schema, words) in [("EventType", json!(types)), ("ProblemCode", json!(codes))] {
        let either = &schemas(&document)[schema]["anyOf"];
        assert_eq!(either, &json!([{"type": "string", "enum": words}, {"type": "string"}]), "{schema}");
    }
    for (schema, member) in [("Problem", "code"), ("LineError", "code"), ("RefusedCase", "code")] {
        assert_eq!(schemas(&document)[schema]["properties"][member]["$ref"], "#/components/schemas/ProblemCode");
    }
}

#[tokio::test]
async fn each_type_of_event_has_a_schema_and_an_example_that_is_such_an_event() {
    require_single_program();
    let document = document().await;
    let by_type = schemas(&document)["EventData"]["properties"].as_object().expect("types");
    let types: BTreeSet<_> = Event::type_names().collect();
    assert_eq!(by_type.keys().map(String::as_str).collect::<BTreeSet<_>>(), types);
    for name in types {
        assert_eq!(by_type[name]["$ref"], format!("#/components/schemas/{name}"));
        let schema = &schemas(&document)[name];
        assert!(schema["description"].is_string() && !schema["description"].to_string().contains("[`"), "{schema}");
        let example = &schema["examples"][0];
        let stream = if PrisonerEvent::TYPE_NAMES.contains(&name) {
            "prisoner-A1234BC"
        } else if PrisonEvent::TYPE_NAMES.contains(&name) {
            "prison-LEI"
        } else {
            "contacts-A1234BC"
        };
        let stream: Stream = stream.parse().expect("a stream");
        let event = Event::deserialize_data(&stream, name, example).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&event.serialize_data(serde_json::value::Serializer).expect("JSON"), example, "{name}");
        assert_members(&document, schema, example, name);
    }
}

/// Checks that an example has every member that its schema requires, and none that it lacks.
#[track_caller]
fn assert_members(document: &Value, schema: &Value, example: &Value, name: &str) {
    let (mut known, mut required) = (BTreeSet::new(), BTreeSet::new());
    collect_members(document, schema, &mut known, &mut required);
    let members: BTreeSet<_> = example.as_object().expect("an object").keys().cloned().collect();
    assert!(members.is_subset(&known), "{name}: {members:?} of {known:?}");
    assert!(required.is_subset(&members), "{name}: {required:?} in {members:?}");
}

fn collect_members(document: &Value, schema: &Value, known: &mut BTreeSet<String>, required: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return collect_members(document, document.pointer(&reference[1..]).expect("a schema"), known, required);
    }
    known.extend(schema["properties"].as_object().into_iter().flat_map(|members| members.keys().cloned()));
    let names = schema["required"].as_array().into_iter().flatten();
    required.extend(names.filter_map(Value::as_str).map(str::to_owned));
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect_members(document, part, known, required);
    }
}

#[tokio::test]
async fn only_parameters_that_a_request_needs_have_an_example() {
    require_single_program();
    let document = document().await;
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let text = parameter.to_string();
            let has_example = text.contains("\"example\"") || text.contains("\"examples\"");
            assert_eq!(has_example, parameter["required"] == true, "{name}: {parameter}");
        }
    }
}

#[tokio::test]
async fn tags_are_in_the_order_of_reading_writing_and_the_older_services() {
    require_single_program();
    let document = document().await;
    let tags = document["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str());
    let tags: Vec<_> = tags.collect();
    assert_eq!(
        tags,
        [
            "Questions about a case",
            "Questions about a prison",
            "The log and the views",
            "Commands to a case",
            "Commands to a prison",
            "Spreadsheets",
            "Messages of HMPPS",
            "Live service",
            "First allocation API",
            "Operation",
        ]
    );
    for (name, operation) in operations(&document) {
        let tag = operation["tags"][0].as_str().expect("a tag");
        assert!(tags.contains(&tag), "{name}: {tag}");
        let summary = operation["summary"].as_str().expect("a summary");
        assert!(!summary.is_empty() && !summary.contains('\n'), "{name}: {summary}");
    }
}

/// The verbs that the ids of operations begin with, of those that record something.
const VERBS: [&str; 25] = [
    "allocate",
    "assign",
    "change",
    "confirm",
    "correct",
    "deallocate",
    "join",
    "merge",
    "override",
    "plan",
    "reallocate",
    "receive",
    "record",
    "register",
    "release",
    "remove",
    "transfer",
    "void",
    "retry",
    "dismiss",
    "begin",
    "cancel",
    "calculate",
    "find",
    "upload",
];

#[tokio::test]
async fn the_id_of_an_operation_says_what_it_does() {
    require_single_program();
    let document = document().await;
    let in_camel_case = Regex::new("^[a-z]+([A-Z][a-z]*)*$").expect("a regular expression");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no id"));
        assert!(in_camel_case.is_match(id).expect("a pattern that ends"), "{name}: {id}");
        assert!(ids.insert(id), "{name}: {id} is the id of another operation, too");
        let verb = id.split(char::is_uppercase).next().unwrap_or_default();
        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        // Statistics are a list, or an object where a period is asked for.
        let is_list = answer["type"] == "array" || answer["$ref"] == "#/components/schemas/Statistics";
        let expected = match (name.starts_with("get "), is_list) {
            (true, true) => vec!["list"],
            (true, false) => vec!["get"],
            (false, _) => VERBS.to_vec(),
        };
        assert!(expected.contains(&verb), "{name}: {id} begins with none of {expected:?}");
    }
    assert!(ids.contains("getResponsibility") && ids.contains("listPrisonCases") && ids.len() > 50, "{ids:?}");
}

#[tokio::test]
async fn a_parameter_of_a_path_is_named_by_what_it_is() {
    require_single_program();
    let document = document().await;
    let mut names = BTreeSet::new();
    for (path, _) in document["paths"].as_object().expect("paths") {
        names.extend(path.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())));
    }
    let expected = [
        "contactId",
        "jobId",
        "messageId",
        "prisonCode",
        "prisonerNumber",
        "report",
        "revision",
        "spreadsheetId",
        "staffId",
        "staffIds",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[test]
fn every_code_of_a_problem_is_in_the_guide() {
    let guide = include_str!("../../../docs/api.md");
    let codes = http_api::ProblemCode::all().map(http_api::ProblemCode::code);
    let missing: Vec<_> = codes.filter(|code| !guide.contains(&format!("`{code}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
