//! The examples in the OpenAPI document work in the demonstration, as `/docs` sends them.

use reqwest::Method;
use serde_json::Value;

use crate::support::{demonstration::Demonstration, topology::require_single_program};

/// Methods of operations that change the ledger, or take a body, after those that only read.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The path with the examples of its parameters in the place of their names.
fn path_of_example(template: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter(|parameter| parameter["in"] == "path").fold(template.to_owned(), |path, parameter| {
        let name = parameter["name"].as_str().expect("a name");
        let example = &parameter["example"];
        assert!(!example.is_null(), "{template}: the parameter {name} has no example");
        let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        path.replace(&format!("{{{name}}}"), &example)
    })
}

#[tokio::test]
async fn every_example_of_the_document_works_in_the_demonstration() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let client = demonstration.program.client();
    let document = client.get("/openapi.json").await.body;
    let mut failed = Vec::new();
    let mut sent = 0;
    for method in METHODS {
        for (template, item) in document["paths"].as_object().expect("paths") {
            let Some(operation) = item.get(method) else { continue };
            // In the demonstration no message waits, no job is known before it begins, and there is
            // no spreadsheet: `/docs` asks for a file.
            let needs_another =
                ["/integration/parked/", "/projections/jobs/"].iter().any(|path| template.starts_with(path));
            if needs_another || template.contains("/spreadsheets") {
                continue;
            }
            let path = path_of_example(template, operation);
            let required = operation["parameters"].as_array().into_iter().flatten();
            let query = required.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
            assert_eq!(query.count(), 0, "{template} needs a query");
            let body = operation.pointer("/requestBody/content/application~1json/example");
            assert_eq!(body.is_some(), operation.get("requestBody").is_some(), "{method} {template}: its example");
            let method: Method = method.to_uppercase().parse().expect("a method");
            // The one question that cannot be asked without a parameter.
            let path = if template == "/subject-access-request" { format!("{path}?prn=A1000AA") } else { path };
            let answer = client.send(method.clone(), &path, &[], body).await;
            sent += 1;
            let is_done = answer.status.is_success() && answer.body["status"] != "error";
            if !is_done || answer.body["refused"].as_array().is_some_and(|refused| !refused.is_empty()) {
                failed.push(format!("{method} {path}: {} {}", answer.status, answer.text));
            }
        }
    }
    assert!(sent > 40, "only {sent} requests");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
