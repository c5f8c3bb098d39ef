//! The demand of each route on its callers.

use std::collections::HashMap;

use axum::http::Method;
use utoipa::openapi::path::PathItem;

use crate::Access;

/// The demand of each route, by its path and method.
#[derive(Debug, Clone, Default)]
pub struct AccessTable(HashMap<String, Vec<(Method, Access)>>);

impl AccessTable {
    pub(crate) fn add(&mut self, path: &str, method: Method, access: Access) {
        self.0.entry(path.to_owned()).or_default().push((method, access));
    }

    /// The demand of a route; `None` where there is no such route.
    #[must_use]
    pub fn find(&self, path: &str, method: &Method) -> Option<Access> {
        // Without a handler of its own, HEAD is answered as GET.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.get(path)?.iter().find(|(known, _)| known == method).map(|(_, access)| *access)
    }

    pub(crate) fn methods_of(&self, path: &str) -> Option<&Vec<(Method, Access)>> {
        self.0.get(path)
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (path, methods) in other.0 {
            self.0.entry(path).or_default().extend(methods);
        }
    }
}

/// The methods of a path that is described.
#[must_use]
pub fn methods(item: &PathItem) -> Vec<Method> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [(Method::GET, get), (Method::PUT, put), (Method::POST, post), (Method::DELETE, delete), (Method::PATCH, patch)]
        .into_iter()
        .filter_map(|(method, operation)| operation.as_ref().map(|_| method))
        .collect()
}
