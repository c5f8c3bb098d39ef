//! Which prisons are a caller's. Tokens of HMPPS Auth do not say, so a file or a service does.

use domain::{confinement::Prisons, identifier::Username};

use crate::{
    Caller,
    caseloads::{CaseloadError, CaseloadService},
    prison_file::PrisonFile,
};

/// The source of the prisons of callers. By default there is none, and no caller is confined.
#[derive(Debug, Default)]
pub struct PrisonSource {
    file: Option<PrisonFile>,
    service: Option<CaseloadService>,
}

impl PrisonSource {
    /// A file, a service, or both: a line of the file goes before what the service says.
    #[must_use]
    pub fn new(file: Option<PrisonFile>, service: Option<CaseloadService>) -> Self {
        Self { file, service }
    }

    /// The prisons that a caller is confined to; `None` where it is not confined. With a source, a
    /// person of whom it says nothing has no prison, and such a client is not confined. `token` is
    /// the caller's.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn find(&self, caller: &Caller, token: &str) -> Result<Option<Prisons>, CaseloadError> {
        if self.file.is_none() && self.service.is_none() {
            return Ok(None);
        }
        let Some(name) = &caller.user_name else {
            let file = self.file.as_ref().zip(caller.client_id.as_deref());
            return Ok(file.and_then(|(file, client)| file.of_client(client)).cloned());
        };
        let Ok(user) = Username::read(name) else { return Ok(Some(Prisons::default())) };
        if let Some(prisons) = self.file.as_ref().and_then(|file| file.of_user(&user)) {
            return Ok(Some(prisons.clone()));
        }
        match &self.service {
            Some(service) => service.find(&user, caller.auth_source.as_deref(), token).await.map(Some),
            None => Ok(Some(Prisons::default())),
        }
    }
}
