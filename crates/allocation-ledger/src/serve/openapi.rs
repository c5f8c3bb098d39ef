//! The OpenAPI document of the program, and the pages that show it.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::SwaggerUi;

/// The head of the OpenAPI document; each role adds its operations.
pub(super) fn openapi() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Allocation ledger")
                .description(Some(
                    "Who is responsible for a person in prison: recorded as events, answered for any moment.",
                ))
                .version(env!("CARGO_PKG_VERSION"))
                .license(Some(utoipa::openapi::LicenseBuilder::new().name("MIT").build()))
                .build(),
        )
        .build()
}

/// Routes `/openapi.json`, and at `/docs` a browser for it whose assets are in the program.
pub(super) fn documentation(openapi: OpenApi) -> Router {
    let config = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true);
    let browser: Router = SwaggerUi::new("/docs").config(config).into();
    let openapi = Arc::new(openapi);
    Router::new().route("/openapi.json", get(async move || Json(openapi))).merge(browser)
}
