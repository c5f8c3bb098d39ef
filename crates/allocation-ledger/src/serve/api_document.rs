//! The OpenAPI document as it is served: the operations of the roles that a process has, completed
//! by conventions that hold for all of them.
//!
//! - The tags are in the order in which a reader looks for them.
//! - The id of an operation is the name of its handler in camel case, which begins with a verb:
//!   `get` for a question, `list` for one whose answer is a list, `find` or `calculate` for one
//!   with a body, and what is done for a command.
//! - The data of each type of event has a schema with an example.
//! - A member of an answer that may be null is always there. A member that may be absent is never
//!   null. The few that may be either are listed here, and so may be the free texts of events.
//! - A parameter or a request body that may be left out is not null.
//! - A whole number in a request is one that JSON keeps exactly.
//! - Only what a request needs has an example: the browser at `/docs` would send the others, too.

use std::collections::BTreeSet;

use domain::{event::EventTypeSchema, openapi::EVENT_SAMPLES};
use http_api::event::free_texts_of_type;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// The tags in their order: reading, writing, the older services, running it.
const TAGS: [(&str, &str); 10] = [
    ("Questions about a case", "Who is responsible for a person, at any time, and everything that led to it."),
    ("Questions about a prison", "A prison's cases, POMs, handovers and statistics."),
    ("The log and the views", "The events for other services, and how far the views are."),
    ("Commands to a case", "What happens to a case is recorded."),
    ("Commands to a prison", "A prison's roster and its move onto OMiC are recorded."),
    ("Spreadsheets", "A prison's spreadsheet of allocations is read, looked at and recorded."),
    ("Messages of HMPPS", "Messages that the ledger could not take in, for those who run it."),
    ("Live service", "As \"Manage POM cases\" answers, for its clients."),
    ("First allocation API", "As the allocation API of 2019 took and answered it."),
    ("Operation", "How the service is and which build it is, for those who run it."),
];

/// The members of answers that may be absent and may be null.
const MAY_BE_ABSENT: [(&str, &str); 4] =
    [("FirstAnswer", "data"), ("FirstApiAllocations", "data"), ("Officer", "email"), ("Officer", "staffId")];

/// The schema whose members are the types of events.
pub(super) const EVENT_DATA: &str = "EventData";

/// The part of an event's data of which every member is always there: facts are kept as given.
const FACTS: &str = "Facts";

/// The largest whole number that JSON keeps exactly.
const EXACT_MAX: i64 = (1 << 53) - 1;

const SCHEMAS: &str = "#/components/schemas/";

/// Completes the document of the roles.
pub(super) fn complete(openapi: &OpenApi) -> Value {
    let mut document = json!(openapi);
    document["servers"] = json!([{"url": "/", "description": "The program that serves this document."}]);
    let mut used_tags = BTreeSet::new();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for operation in operations(&mut document) {
        let tags = operation.get("tags").and_then(Value::as_array).into_iter().flatten();
        used_tags.extend(tags.filter_map(Value::as_str).map(str::to_owned));
        join_summary(operation);
        complete_id(operation);
        require_body(operation);
        complete_parameters(operation);
        for part in ["parameters", "requestBody"].into_iter().filter_map(|part| operation.get(part)) {
            collect_references(part, &mut asked);
        }
        operation.get_mut("parameters").into_iter().for_each(bound_integers);
        collect_references(&operation["responses"], &mut answered);
    }
    let tags = TAGS.iter().filter(|(name, _)| used_tags.contains(*name));
    document["tags"] = tags.map(|(name, description)| json!({"name": name, "description": description})).collect();
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        let asked = closure(schemas, asked);
        schemas.iter_mut().filter(|(name, _)| asked.contains(*name)).for_each(|(_, schema)| bound_integers(schema));
        let answered = closure(schemas, answered);
        answered.iter().for_each(|name| require_nullable_members(schemas, name));
        schemas.values_mut().for_each(open_objects);
        if schemas.contains_key("RecordedEvent") {
            add_event_schemas(schemas);
        }
    }
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter();
    paths.flat_map(Map::values_mut).filter_map(Value::as_object_mut).flat_map(Map::values_mut)
}

/// Makes one line of the summary, which a comment may have broken.
fn join_summary(operation: &mut Value) {
    if let Some(Value::String(summary)) = operation.get_mut("summary") {
        *summary = summary.replace('\n', " ");
    }
}

/// Writes the id in camel case, as members are.
fn complete_id(operation: &mut Value) {
    if let Some(Value::String(id)) = operation.get_mut("operationId") {
        let mut words = id.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        *id = words.fold(first, |id, word| {
            let (initial, rest) = word.split_at(word.len().min(1));
            id + &initial.to_ascii_uppercase() + rest
        });
    }
}

fn require_body(operation: &mut Value) {
    let Some(body) = operation.get_mut("requestBody") else { return };
    let Some(schema) = body.pointer_mut("/content/application~1json/schema") else { return };
    if is_nullable(schema) {
        remove_null(schema);
        body["required"] = json!(false);
    }
}

fn complete_parameters(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        remove_null(&mut parameter["schema"]);
        if parameter["required"] != true {
            remove_examples(parameter);
        }
    }
}

fn remove_examples(part: &mut Value) {
    match part {
        Value::Object(members) => {
            members.retain(|name, _| !["example", "examples"].contains(&name.as_str()));
            members.values_mut().for_each(remove_examples);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_examples),
        _ => {}
    }
}

/// Collects the names of the schemas that a part of the document refers to.
fn collect_references(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(SCHEMAS));
            found.extend(name.map(str::to_owned));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// These schemas, and those that they refer to.
fn closure(schemas: &Map<String, Value>, mut names: Vec<String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    while let Some(name) = names.pop() {
        if let Some(schema) = schemas.get(&name)
            && reached.insert(name)
        {
            collect_references(schema, &mut names);
        }
    }
    reached
}

fn require_nullable_members(schemas: &mut Map<String, Value>, name: &str) {
    for object in objects(schemas, name) {
        let mut required = members_required(object);
        let members = object.get("properties").and_then(Value::as_object).into_iter().flatten();
        let nullable =
            members.filter(|(member, schema)| is_nullable(schema) && !MAY_BE_ABSENT.contains(&(name, member.as_str())));
        required.extend(nullable.map(|(member, _)| member.clone()));
        if !required.is_empty() {
            object["required"] = json!(required);
        }
    }
}

/// Bounds whole numbers without bounds.
fn bound_integers(part: &mut Value) {
    match part {
        Value::Object(members) => {
            let is_integer =
                members.get("type").is_some_and(|name| *name == "integer" || *name == json!(["integer", "null"]));
            if is_integer {
                members.entry("maximum").or_insert(json!(EXACT_MAX));
                members.entry("minimum").or_insert(json!(-EXACT_MAX));
            }
            members.values_mut().for_each(bound_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        _ => {}
    }
}

/// Says of objects without described members that they have some: to a generator of clients, they
/// would otherwise have none.
fn open_objects(part: &mut Value) {
    match part {
        Value::Object(members) => {
            let is_object =
                members.get("type").is_some_and(|name| *name == "object" || *name == json!(["object", "null"]));
            let described = ["properties", "additionalProperties", "maxProperties"];
            if is_object && !described.iter().any(|word| members.contains_key(*word)) {
                members.insert("additionalProperties".to_owned(), json!(true));
            }
            members.values_mut().for_each(open_objects);
        }
        Value::Array(items) => items.iter_mut().for_each(open_objects),
        _ => {}
    }
}

/// The object that a schema is, or the objects that it is made of.
fn objects<'s>(schemas: &'s mut Map<String, Value>, name: &str) -> Vec<&'s mut Value> {
    match schemas.get_mut(name) {
        Some(schema) if schema.get("properties").is_some() => vec![schema],
        Some(schema) => schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten().collect(),
        None => Vec::new(),
    }
}

fn members_required(object: &Value) -> BTreeSet<String> {
    let required = object.get("required").and_then(Value::as_array).into_iter().flatten();
    required.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_null(schema: &Value) -> bool {
    schema["type"] == "null"
}

fn is_nullable(schema: &Value) -> bool {
    let types = schema.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&json!("null")));
    types || schema.get("oneOf").and_then(Value::as_array).is_some_and(|either| either.iter().any(is_null))
}

/// Removes null from the values of a schema.
fn remove_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(either)) = schema.get_mut("oneOf") {
        either.retain(|schema| !is_null(schema));
        if let [only] = &either[..] {
            *schema = only.clone();
        }
    }
}

/// Adds the schema of each type of event with its example, and [`EVENT_DATA`], which has them by
/// type.
fn add_event_schemas(schemas: &mut Map<String, Value>) {
    let mut by_type = Map::new();
    for EventTypeSchema { name, meaning, data, referred } in EventTypeSchema::all() {
        let mut added: Vec<String> = vec![name.to_owned()];
        for (name, schema) in referred {
            if !schemas.contains_key(&name) {
                schemas.insert(name.clone(), json!(schema));
                added.push(name);
            }
        }
        // A generator of clients makes no type of a schema that is another one's name.
        let data = json!(data);
        let mut data = alone_in(&data, "allOf").and_then(|one| referred_schema(schemas, one)).unwrap_or(data);
        data["description"] = json!(meaning);
        data["examples"] = json!([sample(name)["data"]]);
        schemas.insert(name.to_owned(), data);
        added.iter().for_each(|name| separate_absent_and_null(schemas, name));
        by_type.insert(name.to_owned(), json!({"$ref": format!("{SCHEMAS}{name}")}));
    }
    by_type.keys().for_each(|name| add_null_to_texts(schemas, name));
    let description = "The data of each type of event, by the name of the type: the schema of `data` of a recorded event \
                       whose `type` is that name. Later versions may have further types.";
    let types: Vec<_> = by_type.keys().cloned().collect();
    let event_data = json!({"type": "object", "description": description, "properties": by_type, "required": types});
    schemas.insert(EVENT_DATA.to_owned(), event_data);
}

/// Lets the free texts of a type of event be null, as they are for a caller that may not read them.
fn add_null_to_texts(schemas: &mut Map<String, Value>, type_name: &str) {
    let parts = closure(schemas, vec![type_name.to_owned()]);
    for member in free_texts_of_type(type_name).iter().filter_map(|pointer| pointer.rsplit('/').next()) {
        for part in &parts {
            for object in objects(schemas, part) {
                let text = object.pointer_mut(&format!("/properties/{member}"));
                if let Some(text) = text.filter(|text| text["type"] == "string") {
                    text["type"] = json!(["string", "null"]);
                }
            }
        }
    }
}

/// The one schema that a schema is made of, if it is made of one.
fn alone_in<'s>(schema: &'s Value, word: &str) -> Option<&'s Value> {
    match &schema[word].as_array()?[..] {
        [one] => Some(one),
        _ => None,
    }
}

fn referred_schema(schemas: &Map<String, Value>, schema: &Value) -> Option<Value> {
    schemas.get(schema["$ref"].as_str()?.strip_prefix(SCHEMAS)?).cloned()
}

/// Of an event's data, a member that is not required is left out where it has no value.
fn separate_absent_and_null(schemas: &mut Map<String, Value>, name: &str) {
    for object in objects(schemas, name) {
        let required = members_required(object);
        let Some(Value::Object(members)) = object.get_mut("properties") else { continue };
        if name == FACTS {
            let all: Vec<_> = members.keys().cloned().collect();
            object["required"] = json!(all);
            continue;
        }
        members
            .iter_mut()
            .filter(|(member, _)| !required.contains(*member))
            .for_each(|(_, schema)| remove_null(schema));
    }
}

/// The sample of a type of event: its stream, type and data.
pub(super) fn sample(type_name: &str) -> Value {
    let mut samples = EVENT_SAMPLES.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    samples.find(|sample| sample["type"] == type_name).unwrap_or_default()
}
