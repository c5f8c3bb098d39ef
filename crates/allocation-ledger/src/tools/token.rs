//! `token`: signs a token to try the ledger with, as the sign-on would.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use command::Clock;
use sign_on::{LocalKey, TokenClaims};

use crate::stdout;

/// The settings of `token`.
#[derive(Debug, Args)]
pub struct TokenSettings {
    /// The user that the token is of. Default: it is of the client alone
    #[arg(long, value_name = "USERNAME")]
    user: Option<String>,
    /// The client that the token is of
    #[arg(long, value_name = "ID", default_value = "allocation-ledger-token")]
    client: String,
    /// A role that the token has, e.g. ROLE_ALLOCATION_LEDGER__RW. May be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A scope that the token has, e.g. read. May be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The issuer that the token names, where `serve` is told to look at it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The private key that signs the token. It is made, for this user alone, if it is not there;
    /// the public key for --auth-key-file of `serve` is put beside it, with the ending .jwks
    #[arg(long, value_name = "FILE", default_value = "token-key.pem")]
    key_file: PathBuf,
    /// How many minutes the token is valid
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    minutes: u32,
}

/// Prints a token.
///
/// # Errors
/// The key cannot be read, made or written.
pub fn run(settings: &TokenSettings) -> anyhow::Result<()> {
    let public = settings.key_file.with_extension("jwks");
    ensure!(
        public != settings.key_file,
        "--key-file is for the private key, and the public one is put beside it with the ending .jwks: choose another name"
    );
    let is_new = !settings.key_file.exists();
    let key = LocalKey::read_or_make(&settings.key_file)?;
    std::fs::write(&public, key.jwks()).with_context(|| format!("write {}", public.display()))?;
    if is_new {
        let public = public.display();
        // A reader of standard error that has gone is no failure.
        let _ = writeln!(
            std::io::stderr(),
            "made the key {}; `allocation-ledger serve --auth-key-file {public}` takes its tokens",
            settings.key_file.display()
        );
    }
    let now = u64::try_from(Clock::system().now().timestamp()).context("read the clock")?;
    stdout::print_line(&key.sign(&TokenClaims {
        sub: settings.user.clone().unwrap_or_else(|| settings.client.clone()),
        user_name: settings.user.clone(),
        client_id: settings.client.clone(),
        auth_source: "none".to_owned(),
        authorities: settings.roles.clone(),
        scope: settings.scopes.clone(),
        iss: settings.issuer.clone(),
        exp: now + u64::from(settings.minutes) * 60,
    }))
}
