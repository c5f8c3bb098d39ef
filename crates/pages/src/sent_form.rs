//! A form that a visitor has sent.

use axum::{
    Form,
    extract::{FromRequest, FromRequestParts as _, Request},
    response::{IntoResponse as _, Response},
};

use crate::{Pages, command_form::Typed, session::Session, visitor::Visitor};

/// A form that a visitor has sent.
pub(crate) struct SentForm {
    pub(crate) visitor: Visitor,
    pub(crate) typed: Typed,
    /// Whether it was shown in this very session: otherwise nothing is recorded by it.
    pub(crate) is_of_session: bool,
}

impl FromRequest<Pages> for SentForm {
    type Rejection = Response;

    async fn from_request(request: Request, pages: &Pages) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let session =
            Session::from_request_parts(&mut parts, pages).await.map_err(|rejection| rejection.into_response())?;
        let visitor = Visitor::from_request_parts(&mut parts, pages).await?;
        let form = Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), pages).await;
        let Form(pairs) = form.map_err(|rejection| rejection.into_response())?;
        let typed = Typed::new(pairs);
        let is_of_session = session.csrf().matches(typed.text("csrf"));
        Ok(Self { visitor, typed, is_of_session })
    }
}
