//! The content of the page `/event-types`: each type of event with the members of its data and an
//! example, made from the OpenAPI document.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Map, Value};

use super::{
    api_document::{EVENT_DATA, sample},
    html::{escape, prose},
};

/// A member of an object, as the page shows it.
struct Member<'d> {
    name: &'d str,
    schema: &'d Value,
    is_required: bool,
}

/// The content, where the document describes events.
pub(super) fn content(document: &Value) -> Option<String> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    let types = schemas.get(EVENT_DATA)?["properties"].as_object()?;
    let mut html = String::from(
        "<p>Each recorded event has the members of <code>RecordedEvent</code> in <a href=\"/openapi.json\">the OpenAPI \
         document</a>. This page has its <code>data</code>, which depends on its <code>type</code>. A member that is not \
         always there is left out where it has no value. Later versions may have further types and further \
         members: a reader must pass over those that it does not know.</p>\n<ul>\n",
    );
    for name in types.keys() {
        let _ = writeln!(html, "<li><a href=\"#{name}\">{name}</a></li>");
    }
    html.push_str("</ul>\n");
    let mut parts = BTreeSet::new();
    for name in types.keys() {
        write_object(&mut html, schemas, name, &mut parts);
        let sample = sample(name);
        let stream = sample["stream"].as_str().unwrap_or_default();
        let data = serde_json::to_string_pretty(&sample["data"]).unwrap_or_default();
        let _ = writeln!(html, "<p>An example, in <code>{}</code>:</p>\n<pre>{}</pre>", escape(stream), escape(&data));
    }
    html.push_str("<h2>Parts of the data</h2>\n");
    let mut written: BTreeSet<String> = types.keys().cloned().collect();
    while let Some(part) = parts.pop_first() {
        if written.insert(part.clone()) {
            write_object(&mut html, schemas, &part, &mut parts);
        }
    }
    Some(html)
}

/// Writes the members of an object, and adds the objects that they are to `parts`.
fn write_object(html: &mut String, schemas: &Map<String, Value>, name: &str, parts: &mut BTreeSet<String>) {
    let schema = &schemas[name];
    let description = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(html, "<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>", prose(description));
    html.push_str("<table>\n<tr><th>Member</th><th>Type</th><th>Always there</th><th>Meaning</th></tr>\n");
    for Member { name, schema, is_required } in members(schemas, schema) {
        let description = schema["description"].as_str().or_else(|| schema["oneOf"][0]["description"].as_str());
        let _ = writeln!(
            html,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            type_of(schemas, schema, parts),
            if is_required { "yes" } else { "no" },
            prose(description.unwrap_or_default()),
        );
    }
    html.push_str("</table>\n");
}

fn members<'d>(schemas: &'d Map<String, Value>, schema: &'d Value) -> Vec<Member<'d>> {
    let schema = resolve(schemas, schema).map_or(schema, |(_, schema)| schema);
    let required = schema["required"].as_array();
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, schema)| Member {
        name,
        schema,
        is_required: required.is_some_and(|required| required.iter().any(|required| required == name)),
    });
    let joined = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| members(schemas, part));
    own.chain(joined).collect()
}

/// The schema that a reference leads to, with its name.
fn resolve<'d>(schemas: &'d Map<String, Value>, schema: &'d Value) -> Option<(&'d str, &'d Value)> {
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some((name, schemas.get(name)?))
}

/// The type of a member as HTML; an object is a link to its own table.
fn type_of(schemas: &Map<String, Value>, schema: &Value, parts: &mut BTreeSet<String>) -> String {
    if let Some((name, schema)) = resolve(schemas, schema) {
        if schema["properties"].is_object() || schema["allOf"].is_array() {
            parts.insert(name.to_owned());
            return format!("<a href=\"#{name}\">{name}</a>");
        }
        return type_of(schemas, schema, parts);
    }
    if let Some(either) = schema["oneOf"].as_array() {
        return either.iter().map(|one| type_of(schemas, one, parts)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("<code>{}</code>", escape(word)));
        return words.collect::<Vec<_>>().join(", ");
    }
    if schema["type"] == "array" {
        return format!("array of {}", type_of(schemas, &schema["items"], parts));
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let name = types.join(" or ");
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some(format), _) => format!("{} ({})", escape(&name), escape(format)),
        (None, Some(pattern)) => format!("{} <code>{}</code>", escape(&name), escape(pattern)),
        (None, None) => escape(&name),
    }
}
