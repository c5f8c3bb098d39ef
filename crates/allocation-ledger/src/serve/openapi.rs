//! The OpenAPI document of the program, and the pages that show it.

use axum::{Router, body::Bytes, http::header, response::Redirect, routing::get};
use http_api::{GuardedRouter, access::AccessTable};
use sign_on::SignOn;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::SwaggerUi;

use super::{api_document, api_security, reference_pages};

/// The head of the OpenAPI document; each role adds its operations.
pub(super) fn openapi() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Allocation ledger")
                .description(Some(
                    "Who is responsible for a person in prison: recorded as events, answered for any moment. \
                     `/event-types` has the data of each type of event, `/problems` the codes of errors.",
                ))
                .version(env!("CARGO_PKG_VERSION"))
                .license(Some(utoipa::openapi::LicenseBuilder::new().name("MIT").build()))
                .build(),
        )
        .build()
}

/// Routes `/openapi.json`, at `/docs` a browser for it whose assets are in the program, and the
/// pages that explain the API. Two addresses lead here at which HMPPS's tools look for such a
/// document.
pub(super) fn documentation(openapi: &OpenApi, access: &AccessTable, sign_on: Option<&SignOn>) -> GuardedRouter {
    let mut document = api_document::complete(openapi);
    api_security::describe(&mut document, access, sign_on);
    let config = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true);
    let browser: Router = SwaggerUi::new("/docs").config(config).into();
    let text = Bytes::from(document.to_string());
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let served = get(async move || (content_type, text));
    GuardedRouter::new(OpenApi::default())
        .open_route("/openapi.json", served.clone())
        .open_route("/v3/api-docs", served)
        .open_route("/swagger-ui.html", get(async || Redirect::temporary("/docs/")))
        .open_router(&["/docs", "/docs/", "/docs/{*rest}"], browser)
        .merge(reference_pages::router(&document))
}
