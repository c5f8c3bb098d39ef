//! `GET /subject-access-request/template`: how the service for subject access requests lays out
//! what `subject_access` answers.
//!
//! That service renders it with Handlebars and helpers of its own (`optionalValue`, `formatDate`,
//! `getPrisonName`, `convertBoolean`, `convertCamelCase`, `eq`). It compares the template's SHA-256
//! with the one that is registered for this service, and a report fails where they differ: register
//! a new version before the program that has it is put into use.

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
    use serde_json::Value;

    use super::{super::subject_access::as_told, *};

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

    #[test]
    fn every_section_of_the_template_ends() {
        let mut open = Vec::new();
        for tag in TEMPLATE.split("{{").skip(1).filter_map(|tag| tag.split("}}").next()) {
            if let Some(name) = tag.strip_prefix(['#', '^']) {
                open.push(name.split(' ').next().unwrap_or_default());
            } else if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            }
        }
        assert_eq!(open, [] as [&str; 0]);
    }
}
