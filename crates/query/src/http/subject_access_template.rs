//! `GET /subject-access-request/template`: how the service for subject access requests lays out
//! what `subject_access` answers.
//!
//! That service renders it with Handlebars and helpers of its own (`optionalValue`, `formatDate`,
//! `getPrisonName`, `convertBoolean`, `convertCamelCase`, `eq`). Engines differ in whether they
//! look for a name in the contexts around, so each name here is the whole path from its entry. It
//! compares the template's SHA-256 with the one that is registered for this service, and a report
//! fails where they differ: register a new version before the program that has it is put into use.

#[cfg(test)]
mod handlebars;

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use http_api::{Params, Problem};

use super::parameters::NoParams;

/// The template.
const TEMPLATE: &str = include_str!("subject_access.mustache");

/// The template of the report for a subject access request, in Mustache.
#[utoipa::path(
    get, path = "/subject-access-request/template", tag = "Questions about a case",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
pub(super) async fn get_subject_access_template(Params(NoParams {}): Params<NoParams>) -> Result<Response, Problem> {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, TEMPLATE).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::openapi::EVENT_SAMPLES;
    use serde_json::{Value, json};

    use super::{
        super::subject_access::as_told,
        handlebars::{Lookup, render},
        *,
    };

    /// Collects the names of all members.
    fn members(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members_of) => members_of.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                members(value, found);
            }),
            Value::Array(values) => values.iter().for_each(|value| members(value, found)),
            _ => {}
        }
    }

    /// The words in the tags of the template.
    fn words() -> BTreeSet<&'static str> {
        let tags = TEMPLATE.split("{{").skip(1).map(|tag| tag.split_once("}}").expect("a tag ends").0);
        tags.flat_map(|tag| tag.split(|c: char| !c.is_ascii_alphanumeric())).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn every_member_that_is_told_is_in_the_template() {
        let mut told = BTreeSet::new();
        for line in EVENT_SAMPLES.lines().filter(|line| line.starts_with(r#"{"stream":"prisoner-"#)) {
            let sample: Value = serde_json::from_str(line).expect("a sample");
            members(&as_told(sample["data"].clone()), &mut told);
        }
        let words = words();
        let missing: Vec<_> = told.iter().filter(|member| !words.contains(member.as_str())).collect();
        assert!(missing.is_empty() && told.len() > 60, "{missing:?}");
    }

    /// The answer about a person with this entry.
    fn content(type_name: &Value, data: Value) -> Value {
        let instant = "2026-11-01T09:00:00Z";
        let entry = json!({"prisonerNumber": "A7777AA", "revision": 77, "type": type_name, "effectiveAt": instant,
            "recordedAt": instant, "voided": false, "data": data});
        let contact = json!({"prison": "MDI", "prisonerNumber": "A7777AA", "surname": null, "contactType": "POM",
            "foundAt": instant, "removedAt": null});
        json!({"prisonerNumber": "A7777AA", "history": [entry], "nomisContacts": [contact]})
    }

    fn report(type_name: &Value, data: &Value) -> String {
        let content = content(type_name, as_told(data.clone()));
        let [in_context, in_parents] =
            [Lookup::InContext, Lookup::InParents].map(|lookup| render(TEMPLATE, &content, lookup));
        assert_eq!(in_context, in_parents, "{type_name}");
        in_context
    }

    /// Collects the texts and numbers of all members.
    fn values(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.values().for_each(|value| values(value, found)),
            Value::Array(of) => of.iter().for_each(|value| values(value, found)),
            Value::String(text) => found.push(text.clone()),
            Value::Number(number) => found.push(number.to_string()),
            Value::Bool(_) | Value::Null => {}
        }
    }

    #[test]
    fn a_report_has_every_value_that_is_told_whichever_way_names_are_found() {
        for line in EVENT_SAMPLES.lines().filter(|line| line.starts_with(r#"{"stream":"prisoner-"#)) {
            let sample: Value = serde_json::from_str(line).expect("a sample");
            let report = report(&sample["type"], &sample["data"]);
            let mut told = Vec::new();
            values(&as_told(sample["data"].clone()), &mut told);
            for value in told {
                assert!(report.contains(&format!(">{value}</td>")), "{value} of {line} in {report}");
            }
        }
    }

    #[test]
    fn a_report_gives_no_value_of_an_entry_for_one_of_its_parts() {
        let held = json!({"prison": "LEI", "tier": {"tier": "B2", "source": "DELIUS"}});
        let merged = report(
            &json!("PrisonerNumberMerged"),
            &json!({"removedNumber": "A7777AB", "historyEndsAt": 0, "held": held}),
        );
        assert_eq!(merged.matches("LEI").count(), 1, "{merged}");
        assert!(!merged.contains("Prison named with the tier"), "{merged}");
        assert!(merged.contains(">Last entry of that number</td><td class=\"data-column-65\">0<"), "{merged}");
        let voided = report(&json!("EntryVoided"), &json!({"revision": 3, "reason": "Another person"}));
        assert!(voided.contains(">Entry found to be an error</td><td class=\"data-column-65\">3<"), "{voided}");
    }
}
