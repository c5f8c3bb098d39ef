//! The conventions of the OpenAPI document: parts that every operation of the query side has.

use http_api::problem;
use utoipa::{
    Modify, PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
    },
};

/// Adds to each operation the headers that it reads, the descriptions and headers of its answers,
/// the media type of its problems, and the answers that every operation may have.
pub(super) struct Conventions;

impl Modify for Conventions {
    fn modify(&self, openapi: &mut OpenApi) {
        let schemas = &mut openapi.components.get_or_insert_default().schemas;
        schemas.entry(problem::ProblemDocument::name().into_owned()).or_insert_with(problem::ProblemDocument::schema);
        for (template, path) in &mut openapi.paths.paths {
            let PathItem { get, post, .. } = path;
            let asks_about_prison = |get: &&mut Operation| {
                template.starts_with("/prisons/") || parameters(get).any(|parameter| parameter.name == "prison")
            };
            get.iter_mut().filter(asks_about_prison).for_each(add_unknown_prison);
            if let Some(get) = get.as_mut().filter(|_| !UNTAGGED.contains(&template.as_str())) {
                add_not_modified(get);
            }
            post.iter_mut().for_each(add_body_problems);
            get.iter_mut().chain(post).for_each(complete_operation);
        }
    }
}

/// The questions whose answers have no entity tag.
const UNTAGGED: [&str; 2] = ["/status", "/subject-access-request/template"];

fn parameters(operation: &Operation) -> impl Iterator<Item = &Parameter> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}

/// Adds the answer about a prison that neither the list of prisons nor the ledger has.
fn add_unknown_prison(operation: &mut Operation) {
    let problem = describe_problem("`prison-unknown`: neither the list of prisons nor the ledger has the prison");
    operation.responses.responses.entry("404".to_owned()).or_insert_with(|| problem.into());
}

/// Adds the header of a client that has an answer, and the answer that it still holds.
fn add_not_modified(operation: &mut Operation) {
    let description = "The `ETag` of an answer that the caller has: where it still holds, the answer is a 304";
    add_header_parameter(operation, "If-None-Match", None, description);
    let not_modified = ResponseBuilder::new().description("The caller has the answer already").build();
    operation.responses.responses.insert("304".to_owned(), not_modified.into());
}

/// Adds the answers to a body that is not read.
fn add_body_problems(operation: &mut Operation) {
    for (status, description) in [("413", "The body is too large"), ("415", "The body is not JSON")] {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| describe_problem(description).into());
    }
}

fn add_header_parameter(operation: &mut Operation, name: &str, pattern: Option<&str>, description: &str) {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(pattern);
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(schema.build()))
        .build();
    operation.parameters.get_or_insert_default().push(parameter.into());
}

fn complete_operation(operation: &mut Operation) {
    let description = "The position that the answer must include at least, such as the `Ledger-Position` of a command; \
                       the answer waits for it for a short time";
    add_header_parameter(operation, "Ledger-Position-At-Least", Some("^[0-9]{1,19}$"), description);
    let is_paged = parameters(operation).any(|parameter| parameter.name == "after");
    let summary = operation.summary.clone().unwrap_or_default();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with('2') && status != "209" {
            if response.description.is_empty() {
                response.description.clone_from(&summary);
            }
            add_headers(response, is_paged);
        } else if let Some(content) = response.content.shift_remove("application/json") {
            // Answers in the shape of another service keep their media type.
            let is_problem = matches!(&content, RefOr::T(content) if refers_to_problem(content));
            let media_type = if is_problem { problem::CONTENT_TYPE } else { "application/json" };
            response.content.insert(media_type.to_owned(), content);
        }
    }
    for (status, description) in [
        ("400", "The request cannot be read; `errors` says where"),
        (
            "500",
            "A fault inside the ledger, or a case or a roster that the views leave out: `case-damaged`, `prison-damaged`",
        ),
        ("503", "A store is out of reach, or the views are behind; send the same again after `Retry-After` seconds"),
    ] {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| describe_problem(description).into());
    }
}
fn refers_to_problem(content: &utoipa::openapi::Content) -> bool {
    let problem = Ref::from_schema_name(problem::ProblemDocument::name());
    matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location == problem.ref_location)
}

fn describe_problem(description: &str) -> Response {
    let schema = Ref::from_schema_name(problem::ProblemDocument::name());
    ResponseBuilder::new()
        .description(description)
        .content(problem::CONTENT_TYPE, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

fn add_headers(response: &mut Response, is_paged: bool) {
    let has_body = !response.content.is_empty();
    let mut header = |name: &str, r#type, description: &str| {
        let schema = ObjectBuilder::new().schema_type(r#type).build();
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        response.headers.insert(name.to_owned(), header.into());
    };
    header("Ledger-Position", Type::Integer, "How far in the ledger the answer goes, where it depends on the ledger");
    header(
        "Ledger-Streams-Aside",
        Type::Integer,
        "Of lists and statistics: how many cases and prisons they leave out because the views cannot hold them; 0 in a \
         sound ledger",
    );
    if has_body {
        header("ETag", Type::String, "Changes when the answer does; for If-None-Match");
    }
    if is_paged {
        header("Link", Type::String, "Where the next page is, if there is one");
    }
}
