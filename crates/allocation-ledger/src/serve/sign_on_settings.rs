//! The settings of the sign-on.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use sign_on::{
    CaseloadService, KeyServer, KeySet, KeySource, KeyTimes, PrisonFile, PrisonSource, RightRoles, RoleMap, SignOn,
};

/// Whose tokens are valid, and what their roles allow. An empty value counts as none, as a variable
/// of a container may be set and empty.
#[derive(Debug, Clone, Default, Args)]
pub struct SignOnSettings {
    /// Where the sign-on publishes its keys: of HMPPS Auth, /auth/.well-known/jwks.json at its
    /// address. Callers then need a token of it
    #[arg(long, env = "LEDGER_AUTH_JWKS_URL", value_name = "URL")]
    pub auth_jwks_url: Option<String>,
    /// The issuer that tokens must name (`iss`). Default: it is not looked at
    #[arg(long, env = "LEDGER_AUTH_ISSUER", value_name = "URL")]
    pub auth_issuer: Option<String>,
    /// A file with the keys, instead of an address: a JWKS, or a public key in PEM
    #[arg(long, env = "LEDGER_AUTH_KEY_FILE", value_name = "FILE")]
    pub auth_key_file: Option<String>,
    /// The roles that give a right, in place of its own: RIGHT=ROLE,ROLE. docs/security.md lists
    /// the rights. May be repeated; in the variable, with spaces between them
    #[arg(long = "auth-role", env = "LEDGER_AUTH_ROLES", value_name = "RIGHT=ROLES", value_delimiter = ' ')]
    pub auth_roles: Vec<String>,
    /// A client that may use the API of 2019 by the scope of its token alone. May be repeated; in
    /// the variable, with spaces between them
    #[arg(long = "auth-scope-client", env = "LEDGER_AUTH_SCOPE_CLIENTS", value_name = "ID", value_delimiter = ' ')]
    pub auth_scope_clients: Vec<String>,
    /// A file that says which prisons are a caller's: lines such as `user HOMD_LEI LEI,MDI` and
    /// `client some-client WYI`. It is read once. Default: no caller is confined to prisons
    #[arg(long, env = "LEDGER_AUTH_PRISONS", value_name = "FILE")]
    pub auth_prisons: Option<String>,
    /// The service that says which caseloads a person has, asked with the person's token: of HMPPS,
    /// /me/caseloads at the address of nomis-user-roles-api. `{username}` in it becomes the name
    #[arg(long, env = "LEDGER_AUTH_CASELOADS_URL", value_name = "URL")]
    pub auth_caseloads_url: Option<String>,
}

impl SignOnSettings {
    /// The sign-on; `None` where no keys are configured. Must be called in an async runtime.
    ///
    /// # Errors
    /// The settings contradict one another, or a file or an address cannot be used.
    pub(super) fn open(&self) -> anyhow::Result<Option<Arc<SignOn>>> {
        let url = self.auth_jwks_url.as_deref().filter(|url| !url.is_empty());
        let file = self.auth_key_file.as_deref().filter(|file| !file.is_empty());
        let issuer = self.auth_issuer.as_deref().filter(|issuer| !issuer.is_empty());
        let keys = match (url, file) {
            (None, None) if issuer.is_some() => {
                bail!(
                    "--auth-issuer says whose tokens are valid, and nothing says which keys sign them: add --auth-jwks-url or --auth-key-file"
                )
            }
            (None, None) => {
                for (setting, value) in
                    [("--auth-prisons", &self.auth_prisons), ("--auth-caseloads-url", &self.auth_caseloads_url)]
                {
                    if value.as_deref().is_some_and(|value| !value.is_empty()) {
                        bail!(
                            "{setting} says which prisons are a caller's, and no caller signs on: add --auth-jwks-url \
                             or --auth-key-file"
                        )
                    }
                }
                return Ok(None);
            }
            (Some(_), Some(_)) => {
                bail!("--auth-jwks-url and --auth-key-file both say where the keys are: leave one out")
            }
            (Some(url), None) => KeySource::Server(
                KeyServer::start(url, KeyTimes::default()).map_err(|why| anyhow!("--auth-jwks-url: {why}"))?,
            ),
            (None, Some(file)) => KeySource::File(Arc::new(
                KeySet::read(Path::new(file)).with_context(|| format!("--auth-key-file {file}"))?,
            )),
        };
        Ok(Some(Arc::new(SignOn::new(keys, issuer, self.role_map()?).with_prisons(self.prison_source()?))))
    }

    fn prison_source(&self) -> anyhow::Result<PrisonSource> {
        let file = self.auth_prisons.as_deref().filter(|file| !file.is_empty());
        let url = self.auth_caseloads_url.as_deref().filter(|url| !url.is_empty());
        if file.is_none() && url.is_none() {
            tracing::warn!(
                "neither --auth-prisons nor --auth-caseloads-url is given: no caller is confined to its prisons, and \
                 notes are shown to auditors alone"
            );
        }
        let read = |file| PrisonFile::read(Path::new(file)).with_context(|| format!("--auth-prisons {file}"));
        let service = |url| CaseloadService::new(url).map_err(|why| anyhow!("--auth-caseloads-url: {why}"));
        Ok(PrisonSource::new(file.map(read).transpose()?, url.map(service).transpose()?))
    }

    fn role_map(&self) -> anyhow::Result<RoleMap> {
        let given = self.auth_roles.iter().filter(|entry| !entry.is_empty());
        let entries: Vec<RightRoles> = given
            .map(|entry| entry.parse().with_context(|| format!("--auth-role {entry}")))
            .collect::<Result<_, _>>()?;
        let clients: Vec<_> = self.auth_scope_clients.iter().filter(|client| !client.is_empty()).cloned().collect();
        Ok(RoleMap::new(&entries, &clients))
    }
}
