//! The OpenAPI document that the program serves, and the copy of it in `docs/openapi.json`.
//!
//! `UPDATE_OPENAPI=1 cargo test -p tests --test it program::openapi` updates the copy.

use std::collections::BTreeSet;

use domain::{
    handover::HandoverReason,
    officer::{PomKind, PomStatus},
    prison::Estate,
    prisoner::{OfficerRole, OverrideReason, Phase, ResponsibilityOverrideReason, ResponsibleService},
    tier::{RoshLevel, TierSource},
    words::Words,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    checked_in::assert_checked_in,
    ledger::Ledger,
    tokens::{GuardedProgram, TestKey},
    topology::require_single_program,
};

/// Set to update the copy instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

/// Methods of operations in the document.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn the_checked_in_document_is_the_one_served() {
    require_single_program();
    // Without a sign-on the document says that tokens are optional.
    let guarded = GuardedProgram::serve(Some(&TestKey::of_sign_on()), &[]).await;
    let document = guarded.program.client().get("/openapi.json").await.body;
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    assert_checked_in("openapi.json", &text, UPDATE);
}

/// Checks that the schema of an enum lists the words that JSON has for its variants.
#[track_caller]
fn check_words<W: Words>(document: &Value, schema: &str) {
    let words: Vec<_> = W::ALL.iter().map(|variant| variant.word()).collect();
    assert_eq!(document["components"]["schemas"][schema]["enum"], json!(words), "{schema}");
}

#[tokio::test]
async fn the_schema_of_an_enum_lists_the_words_of_json() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let document = ledger.client().get("/openapi.json").await.body;
    check_words::<Estate>(&document, "Estate");
    check_words::<HandoverReason>(&document, "HandoverReason");
    check_words::<OfficerRole>(&document, "OfficerRole");
    check_words::<OverrideReason>(&document, "OverrideReason");
    check_words::<Phase>(&document, "Phase");
    check_words::<PomKind>(&document, "PomKind");
    check_words::<PomStatus>(&document, "PomStatus");
    check_words::<ResponsibilityOverrideReason>(&document, "ResponsibilityOverrideReason");
    check_words::<ResponsibleService>(&document, "ResponsibleService");
    check_words::<RoshLevel>(&document, "RoshLevel");
    check_words::<TierSource>(&document, "TierSource");
}

/// The router must know the path and the method of each operation. It may refuse the empty request.
#[tokio::test]
async fn every_operation_in_the_document_is_routed() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let document = ledger.client().get("/openapi.json").await.body;
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path: String = path.split('{').enumerate().map(|(index, part)| without_parameter(index, part)).collect();
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let answer = ledger.client().send(method.clone(), &path, &[], None).await;
            let code = answer.body["code"].as_str().unwrap_or_default();
            assert!(!["path-unknown", "method-not-allowed"].contains(&code), "{method} {path}: {}", answer.text);
            operations += 1;
        }
    }
    assert!(operations > 40, "only {operations} operations are in the document");
}

/// A part of a path after a `{`, with `x` for the parameter.
fn without_parameter(index: usize, part: &str) -> String {
    match part.split_once('}') {
        Some((_, rest)) if index > 0 => format!("x{rest}"),
        _ => part.to_owned(),
    }
}

#[tokio::test]
async fn every_response_is_described_and_every_reference_resolves() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let document = ledger.client().get("/openapi.json").await.body;
    let mut operation_ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let operation_id = operation["operationId"].as_str();
            assert!(operation_ids.insert(operation_id), "{method} {path} has the id of another operation");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path} {status} is not described");
                let problem = "#/components/schemas/Problem";
                let as_json = &response["content"]["application/json"]["schema"]["$ref"];
                assert_ne!(as_json, problem, "{method} {path} {status}: a problem of another media type");
            }
        }
    }
    let tags: Vec<&Value> = document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    assert!(tags.iter().enumerate().all(|(index, tag)| !tags[..index].contains(tag)), "{tags:?}");
    let mut unresolved = Vec::new();
    collect_unresolved(&document, &document, &mut unresolved);
    assert!(unresolved.is_empty(), "{unresolved:?}");
}

/// Collects the references of `part` that lead to nothing in the document.
fn collect_unresolved(document: &Value, part: &Value, unresolved: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer)).is_none()
            {
                unresolved.push(reference.clone());
            }
            members.values().for_each(|member| collect_unresolved(document, member, unresolved));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_unresolved(document, item, unresolved)),
        _ => {}
    }
}

/// The merged document keeps one of two schemas of the same name, so they must be equal.
#[test]
fn both_http_sides_mean_the_same_by_the_name_of_a_schema() {
    let (commands, answers) = (json!(command::openapi()), json!(query::openapi()));
    let schemas = |document: &Value| document["components"]["schemas"].as_object().expect("schemas").clone();
    let answers = schemas(&answers);
    for (name, schema) in schemas(&commands) {
        if let Some(other) = answers.get(&name) {
            assert_eq!(&schema, other, "two schemas are called {name}");
        }
    }
}
