//! Tokens: header and claims with a line end between them and a signature of nobody, and texts that
//! are no tokens.
#![no_main]

use std::{cell::LazyCell, io::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use sign_on::{KeySet, KeySource, RoleMap, SignOn};
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};

/// A public key whose private part nobody has.
const KEYS: &[u8] = include_bytes!("../seeds/keys.jwks");

thread_local! {
    static SIGN_ON: LazyCell<(Runtime, SignOn)> = LazyCell::new(|| {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(KEYS).expect("write the file");
        let keys = KeySource::File(Arc::new(KeySet::read(file.path()).expect("keys")));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        (runtime, SignOn::new(keys, None, RoleMap::default()))
    });
}

fuzz_target!(|text: &str| {
    let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signature = URL_SAFE_NO_PAD.encode([7; 256]);
    SIGN_ON.with(|sign_on| {
        let (runtime, sign_on) = &**sign_on;
        for token in [format!("{header}.{claims}.{signature}"), format!("{header}.{claims}."), text.to_owned()] {
            assert!(runtime.block_on(sign_on.caller(&token)).is_err(), "{token}");
        }
    });
});
