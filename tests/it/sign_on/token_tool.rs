//! `token`, and how `serve` is told whose tokens are valid.

use std::{os::unix::fs::PermissionsExt as _, process::Command, sync::Arc};

use reqwest::Method;
use sign_on::{KeySet, KeySource, RoleMap, SignOn};

use crate::support::{
    Program, database, run, run_in,
    tokens::{TestKey, person},
    topology::require_single_program,
};

#[tokio::test]
async fn a_token_of_this_machine_opens_a_ledger_that_trusts_its_key() {
    require_single_program();
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("token-key.pem");
    let arguments = ["token", "--user", "HOMD_LEI", "--role", "ROLE_ALLOCATION_LEDGER__RO", "--key-file"];
    let arguments = [&arguments[..], &[key.to_str().expect("UTF-8")]].concat();
    let made = run(&arguments).await;
    assert!(made.status.success(), "{}", made.stderr);
    assert_eq!(std::fs::metadata(&key).expect("the key").permissions().mode() & 0o777, 0o600);
    let public = folder.path().join("token-key.jwks");
    assert!(made.stderr.contains(&format!("--auth-key-file {}", public.display())), "{}", made.stderr);
    let private = std::fs::read(&key).expect("the key");
    let again = run(&arguments).await;
    assert!(again.status.success() && again.stderr.is_empty(), "{}", again.stderr);
    assert_eq!(std::fs::read(&key).expect("the key"), private, "the key is kept");
    let over_itself = run(&["token", "--key-file", public.to_str().expect("UTF-8")]).await;
    assert_eq!(over_itself.status.code(), Some(1));
    assert!(over_itself.stderr.contains("choose another name"), "{}", over_itself.stderr);

    let database = database().await;
    let stores = database.arguments();
    let trusts = ["--auth-key-file", public.to_str().expect("UTF-8")];
    let serve: Vec<&str> = stores.iter().map(String::as_str).chain(trusts).collect();
    let program = Program::serve_with(&serve).await;
    for token in [&made.stdout, &again.stdout] {
        let bearer = format!("Bearer {}", token.trim());
        for (path, status) in [("/nomis-contacts", 200), ("/events", 403)] {
            let headers = [("Authorization", bearer.as_str())];
            let answer = program.client().send(Method::GET, path, &headers, None).await;
            assert_eq!(answer.status, status, "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_public_key_in_pem_is_taken_whatever_id_a_token_names() {
    require_single_program();
    let folder = tempfile::tempdir().expect("a folder");
    let pem = folder.path().join("public.pem");
    let status = Command::new("openssl")
        .args(["pkey", "-pubout", "-in", concat!(env!("CARGO_MANIFEST_DIR"), "/data/sign-on/key.pem"), "-out"])
        .arg(&pem)
        .status()
        .expect("openssl");
    assert!(status.success());
    let keys = KeySet::read(&pem).expect("a key");
    let sign_on = SignOn::new(KeySource::File(Arc::new(keys)), None, RoleMap::default());
    let claims = person(&[]);
    assert!(sign_on.caller(&TestKey::of_sign_on().token(&claims)).await.is_ok());
    assert!(sign_on.caller(&TestKey::other().token(&claims)).await.is_err());
    let curve = "-----BEGIN PUBLIC KEY-----\n\
                 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECMKgIe6Xf+jEMoY/q3+PgO0hJbAZ\n\
                 0kXVBjlicWe10lnBAK+doPNJRjJJLeAeCFrITt4mxNKN7QwA7BhoPNuqdQ==\n\
                 -----END PUBLIC KEY-----\n";
    std::fs::write(&pem, curve).expect("write a key");
    assert!(KeySet::read(&pem).is_err(), "a key of another kind");
}

#[tokio::test]
async fn other_machines_are_let_in_only_with_a_sign_on() {
    require_single_program();
    // A program that is not refused would use the directory, and go on until the test is ended.
    let directory = tempfile::tempdir().expect("a folder");
    let serve = ["serve", "--data-dir", directory.path().to_str().expect("UTF-8"), "--listen"];
    let to_all = [&serve[..], &["0.0.0.0:0"]].concat();
    let refused = run(&to_all).await;
    assert!(!refused.status.success() && refused.stderr.contains("--auth-jwks-url"), "{}", refused.stderr);
    // A variable of a container that is set and empty says nothing.
    let empty = [("LEDGER_AUTH_JWKS_URL", ""), ("LEDGER_AUTH_KEY_FILE", ""), ("LEDGER_AUTH_ISSUER", "")];
    let refused = run_in(&empty, &to_all).await;
    assert!(!refused.status.success() && refused.stderr.contains("--auth-jwks-url"), "{}", refused.stderr);
    for (arguments, named) in [
        (vec!["--auth-issuer", "https://a.example"], "--auth-key-file"),
        (vec!["--auth-jwks-url", "https://a.example", "--auth-key-file", "keys"], "leave one out"),
        (vec!["--auth-jwks-url", "file:///etc/passwd"], "--auth-jwks-url: it is no address of https"),
        (vec!["--auth-jwks-url", "http://a.example/jwks"], "--auth-jwks-url: it is no address of https"),
        (vec!["--auth-jwks-url", "https://user:secret@a.example"], "a user or a password"),
        (vec!["--host", "https://ledger.example:8443"], "without scheme and port"),
        (vec!["--auth-key-file", "/nowhere/keys"], "/nowhere/keys"),
        (vec!["--auth-key-file", "/dev/null"], "/dev/null"),
        (vec!["--auth-jwks-url", "http://127.0.0.1:1/", "--auth-role", "RO=admin"], "--auth-role RO=admin"),
    ] {
        let refused = run(&[&serve[..], &["127.0.0.1:0"], &arguments].concat()).await;
        assert!(!refused.status.success() && refused.stderr.contains(named), "{named}: {}", refused.stderr);
    }
}
