//! The parts of the OpenAPI document about tokens: the scheme, the roles of each operation, and the
//! answers to a caller that is refused.

use http_api::{
    Access,
    access::AccessTable,
    problem::{self, ProblemDocument},
};
use serde_json::{Value, json};
use sign_on::{RoleMap, SignOn};
use utoipa::ToSchema as _;

/// The name of the scheme in the document.
const SCHEME: &str = "bearer";

/// Describes who may use each operation. Where there is no sign-on, a token is optional.
pub(super) fn describe(document: &mut Value, access: &AccessTable, sign_on: Option<&SignOn>) {
    let by_default = RoleMap::default();
    let roles = sign_on.map_or(&by_default, SignOn::roles);
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of HMPPS Auth. Each operation needs one of the roles that it lists.",
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let method = method.to_uppercase().parse().ok();
            let access = method.and_then(|method| access.find(path, &method));
            // The guard refuses a route that the table does not have.
            let Some(access) = access else { continue };
            describe_operation(operation, access, roles, sign_on.is_none());
        }
    }
}

fn describe_operation(operation: &mut Value, access: Access, roles: &RoleMap, is_token_optional: bool) {
    if access == Access::Open {
        operation["security"] = json!([]);
        return;
    }
    let mut schemes: Vec<_> = roles.roles(access.rights()).map(|role| json!({SCHEME: [role]})).collect();
    if schemes.is_empty() {
        // No role is enough, as where an entry of the settings is empty.
        schemes.push(json!({SCHEME: []}));
    }
    if is_token_optional {
        schemes.push(json!({}));
    }
    operation["security"] = json!(schemes);
    let givers: Vec<_> = roles.givers(access.rights()).collect();
    let needed = format!("Needs one of these roles: {}.", givers.join(", "));
    operation["description"] = match operation["description"].as_str() {
        Some(text) => json!(format!("{text}\n\n{needed}")),
        None => json!(needed),
    };
    let problem = format!("#/components/schemas/{}", ProblemDocument::name());
    let problem = json!({problem::CONTENT_TYPE: {"schema": {"$ref": problem}}});
    let refusals = match access {
        Access::Open | Access::OpenUploads => vec![],
        Access::LiveService => {
            let body = json!({"$ref": "#/components/schemas/LiveError"});
            vec![(
                "401",
                "There is no valid token, or its roles are not enough",
                json!({"application/json": {"schema": body}}),
            )]
        }
        Access::FirstApiQuestions | Access::FirstApiCommands => {
            vec![("401", "There is no valid token, or its roles are not enough", Value::Null)]
        }
        Access::Questions
        | Access::Commands
        | Access::Uploads
        | Access::Feed
        | Access::Views
        | Access::AccessLog
        | Access::ControlReports
        | Access::Jobs
        | Access::JobRequests
        | Access::ExportFiles
        | Access::Messages
        | Access::Queues
        | Access::SubjectAccess => vec![
            ("401", "There is no valid token", problem.clone()),
            (
                "403",
                "The roles of the token are not enough, or the prison or the case is not one of the caller's",
                problem,
            ),
        ],
    };
    for (status, description, content) in refusals {
        let challenge = json!({"schema": {"type": "string"}, "description": "What kind of token is asked for"});
        let mut response = json!({"description": description, "headers": {"WWW-Authenticate": challenge}});
        if !content.is_null() {
            response["content"] = content;
        }
        operation["responses"][status] = response;
    }
}
