//! A service that is asked for what another role answers says which service has it.

use reqwest::Method;
use serde_json::json;

use super::service;
use crate::support::database;

#[tokio::test]
async fn a_service_says_which_other_one_has_an_operation() {
    let database = database().await;
    let url = &database.url;
    let [command, query, projector] = ["command", "query", "projector"].map(|role| service(role, url, url));
    let (command, query, projector) = tokio::join!(command, query, projector);
    for (service, method, path, wanted) in [
        (&command, Method::GET, "/prisoners/A1234BC/responsibility", "query"),
        // The command service has another method of that path.
        (&command, Method::GET, "/prisons/LEI/poms", "query"),
        (&command, Method::POST, "/responsibilities", "query"),
        (&query, Method::POST, "/prisoners/A1234BC/tier", "command"),
        (&query, Method::PATCH, "/prisons/LEI/poms/485926", "command"),
        (&query, Method::DELETE, "/prisoners/A1234BC/community-manager", "command"),
        (&projector, Method::PUT, "/prisons/LEI/go-live-date", "command"),
        (&projector, Method::GET, "/projections", "query"),
    ] {
        let answer = service.client().send(method.clone(), path, &[], None).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (404, &json!("path-unknown")), "{}", answer.text);
        let sentence = format!("{method} {path} is for the {wanted} service");
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with(&sentence), "{sentence:?} in {}", answer.text);
    }
    // Of nobody, and of itself.
    let nowhere = command.client().get("/nowhere").await;
    assert!(nowhere.text.contains("There is nothing at /nowhere"), "{}", nowhere.text);
    let wrong = query.client().send(Method::DELETE, "/prisons/LEI/cases", &[], None).await;
    assert_eq!(wrong.body["code"], "method-not-allowed", "{}", wrong.text);
    for service in [&command, &query, &projector] {
        let paths = service.client().get("/openapi.json").await.body["paths"].clone();
        assert!(paths["/health"].is_object() && paths["/info"].is_object(), "{paths}");
        assert_eq!(service.client().get("/ping").await.text, "pong");
    }
}
