//! Which tokens are valid.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use sign_on::{Caller, KeySet, KeySource, Right, RoleMap, SignOn, TokenRefusal};

use crate::support::tokens::{ISSUER, TestKey, changed, client, person, seconds_from_now, unsigned};

fn sign_on(jwks: &Value, issuer: Option<&str>) -> SignOn {
    let keys = KeySet::from_jwks(jwks.to_string().as_bytes()).expect("keys");
    SignOn::new(KeySource::File(Arc::new(keys)), issuer, RoleMap::default())
}

async fn caller(claims: &Value) -> Arc<Caller> {
    let key = TestKey::of_sign_on();
    let sign_on = sign_on(&key.jwks(), Some(ISSUER));
    sign_on.caller(&key.token(claims)).await.unwrap_or_else(|refusal| panic!("{claims}: {refusal}"))
}

async fn check_refused(sign_on: &SignOn, what: &str, token: &str) {
    let answer = sign_on.caller(token).await;
    assert!(matches!(answer, Err(TokenRefusal::Invalid(_))), "{what}: {answer:?}");
    let again = sign_on.caller(token).await;
    assert!(again.is_err(), "{what}, again: {again:?}");
}

/// As some programs write it, so that it cannot be taken for a negative number.
#[tokio::test]
async fn a_key_with_a_leading_zero_is_the_same_key() {
    let key = TestKey::of_sign_on();
    let mut jwks = key.jwks();
    let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().expect("a modulus")).expect("base64");
    jwks["keys"][0]["n"] = URL_SAFE_NO_PAD.encode([&[0], &modulus[..]].concat()).into();
    assert!(sign_on(&jwks, None).caller(&key.token(&person(&[]))).await.is_ok());
}

#[tokio::test]
async fn a_token_says_who_the_caller_is() {
    let of_person = caller(&person(&["ROLE_ALLOCATION_LEDGER__RO"])).await;
    assert_eq!((of_person.principal(), of_person.client_id.as_deref()), ("HOMD_LEI", Some("manage-poms")));
    assert_eq!(of_person.auth_source.as_deref(), Some("nomis"));
    assert!(of_person.has_any(&[Right::Read]) && !of_person.has_any(&[Right::Record]));
    let of_client = caller(&client("some-client", &["ROLE_VIEW_POM_ALLOCATIONS"], "read write")).await;
    assert_eq!((of_client.principal(), &of_client.user_name), ("some-client", &None));
    assert!(of_client.has_any(&[Right::LiveService]));
    let as_array = changed(client("c", &["ROLE_VIEW_POM_ALLOCATIONS"], ""), json!({"scope": ["write", "read"]}));
    assert!(caller(&as_array).await.has_any(&[Right::LiveService]));
    let without_roles = changed(person(&[]), json!({"authorities": null, "scope": null}));
    assert_eq!(caller(&without_roles).await.rights, sign_on::Rights::default());
}

#[tokio::test]
async fn clocks_may_be_a_minute_apart() {
    for claims in [json!({"exp": seconds_from_now(-50)}), json!({"nbf": seconds_from_now(50)})] {
        caller(&changed(person(&[]), claims)).await;
    }
    let key = TestKey::of_sign_on();
    let sign_on = sign_on(&key.jwks(), None);
    for claims in [json!({"exp": seconds_from_now(-70)}), json!({"nbf": seconds_from_now(70)})] {
        check_refused(&sign_on, &claims.to_string(), &key.token(&changed(person(&[]), claims.clone()))).await;
    }
}

#[tokio::test]
async fn an_issuer_counts_only_where_one_is_configured() {
    let key = TestKey::of_sign_on();
    let (any, one) = (sign_on(&key.jwks(), None), sign_on(&key.jwks(), Some(ISSUER)));
    for issuer in [json!("https://elsewhere.example"), json!(null), json!("")] {
        let token = key.token(&changed(person(&[]), json!({ "iss": issuer })));
        assert!(any.caller(&token).await.is_ok(), "{issuer}");
        check_refused(&one, &issuer.to_string(), &token).await;
    }
    // An issuer is one text, even where it is not compared.
    for issuer in [json!([ISSUER]), json!([ISSUER, "https://elsewhere.example"]), json!({"iss": ISSUER}), json!(7)] {
        let token = key.token(&changed(person(&[]), json!({ "iss": issuer })));
        check_refused(&any, &issuer.to_string(), &token).await;
        check_refused(&one, &issuer.to_string(), &token).await;
    }
}

#[tokio::test]
async fn no_header_of_a_token_chooses_how_it_is_verified() {
    let (key, attacker) = (TestKey::of_sign_on(), TestKey::other());
    let sign_on = sign_on(&key.jwks(), Some(ISSUER));
    let claims = person(&["ROLE_ALLOCATION_LEDGER__RW"]).to_string();
    let header = |changes: Value| changed(key.header(), changes).to_string();
    let good = key.sign(&header(json!({})), &claims);
    assert!(sign_on.caller(&good).await.is_ok());

    for none in ["none", "None", "NONE", "nOnE", ""] {
        let text = unsigned(&header(json!({ "alg": none })), &claims);
        check_refused(&sign_on, none, &format!("{text}.")).await;
        check_refused(&sign_on, none, &format!("{text}.{}", good.rsplit('.').next().expect("a signature"))).await;
    }
    // The public key as the secret, in each form that a server may have it in.
    let jwks = key.jwks();
    let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().expect("a modulus")).expect("base64");
    for secret in [jwks.to_string().into_bytes(), jwks["keys"][0].to_string().into_bytes(), modulus] {
        let text = unsigned(&header(json!({"alg": "HS256"})), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
        check_refused(&sign_on, "HS256", &format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))).await;
    }
    for algorithm in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "HS512"] {
        check_refused(&sign_on, algorithm, &key.sign(&header(json!({ "alg": algorithm })), &claims)).await;
    }
    // A key that the token brings along, or says where to find.
    let brought = attacker.jwks()["keys"][0].clone();
    for changes in [
        json!({ "jwk": brought }),
        json!({ "jwk": brought, "kid": attacker.id() }),
        json!({"jku": "https://attacker.example/jwks.json"}),
        json!({"x5u": "https://attacker.example/certificate"}),
        json!({"x5c": ["MIIB"]}),
        json!({"crit": ["exp"]}),
        json!({"crit": ["b64"], "b64": true}),
        json!({"b64": false}),
        json!({"zip": "DEF"}),
    ] {
        let what = changes.to_string();
        check_refused(&sign_on, &what, &attacker.sign(&header(changes.clone()), &claims)).await;
        check_refused(&sign_on, &what, &key.sign(&header(changes), &claims)).await;
    }
    check_refused(&sign_on, "another key", &attacker.sign(&header(json!({})), &claims)).await;
    check_refused(&sign_on, "an unknown key", &key.sign(&header(json!({"kid": "unknown"})), &claims)).await;
    for kid in [json!(null), json!([key.id()]), json!(""), json!(7)] {
        check_refused(&sign_on, &kid.to_string(), &key.sign(&header(json!({ "kid": kid })), &claims)).await;
    }
    let id = key.id();
    for twice in [
        format!("{{\"alg\":\"RS256\",\"kid\":\"{id}\",\"kid\":\"{}\"}}", attacker.id()),
        format!("{{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"{id}\"}}"),
        format!("{{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"{id}\"}}"),
    ] {
        check_refused(&sign_on, &twice, &key.sign(&twice, &claims)).await;
    }
}

#[tokio::test]
async fn claims_that_are_missing_twice_or_of_another_type_are_refused() {
    let key = TestKey::of_sign_on();
    let sign_on = sign_on(&key.jwks(), Some(ISSUER));
    for changes in [
        json!({"exp": null}),
        json!({"exp": "99999999999"}),
        json!({"exp": -1}),
        json!({"exp": seconds_from_now(-3_600)}),
        json!({"nbf": seconds_from_now(3_600)}),
        json!({"nbf": "0"}),
        json!({"user_name": null, "client_id": null}),
        json!({"user_name": " ", "client_id": ""}),
        json!({"user_name": ["HOMD_LEI"]}),
        // A client's, which is confined to no prison, it would be without the name.
        json!({"user_name": ""}),
        json!({"user_name": " \t"}),
        json!({"authorities": "ROLE_ALLOCATION_LEDGER__RW"}),
        json!({"authorities": {"ROLE_ALLOCATION_LEDGER__RW": true}}),
        json!({"scope": 7}),
    ] {
        check_refused(&sign_on, &changes.to_string(), &key.token(&changed(person(&[]), changes))).await;
    }
    let (header, claims) = (key.header().to_string(), person(&[]).to_string());
    for member in ["\"exp\":99999999999", "\"user_name\":\"ADMIN\"", "\"authorities\":[\"ROLE_ALLOCATION_LEDGER__RW\"]"]
    {
        let twice = claims.replacen('{', &format!("{{{member},"), 1);
        check_refused(&sign_on, member, &key.sign(&header, &twice)).await;
    }
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused() {
    let key = TestKey::of_sign_on();
    let sign_on = sign_on(&key.jwks(), None);
    let good = key.token(&person(&["ROLE_ALLOCATION_LEDGER__RO"]));
    assert!(sign_on.caller(&good).await.is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good}") };
    let other = unsigned(&key.header().to_string(), &person(&["ROLE_ALLOCATION_LEDGER__RW"]).to_string());
    for token in [
        format!("{other}.{signature}"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{signature}."),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{}", &signature[..signature.len() - 4]),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}.{claims}\n.{signature}"),
        good.to_uppercase(),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "\u{0}".to_owned(),
        "ä.ö.ü".to_owned(),
    ] {
        check_refused(&sign_on, &token, &token).await;
    }
    let long = changed(person(&[]), json!({"padding": "x".repeat(17_000)}));
    check_refused(&sign_on, "a long token", &key.token(&long)).await;
}

#[test]
fn keys_that_cannot_sign_tokens_are_passed_over() {
    let jwks = TestKey::of_sign_on().jwks();
    let good = &jwks["keys"][0];
    let read = |keys: Value| KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes());
    for changes in [
        json!({"kty": "EC"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"use": "enc"}),
        json!({"alg": "RS512"}),
        json!({"alg": "HS256"}),
        json!({"kid": null}),
        json!({"n": "AQAB"}),
        json!({"n": null}),
        json!({"e": "!"}),
    ] {
        let key = changed(good.clone(), changes);
        assert!(read(json!([key])).is_err(), "{key}");
        assert!(read(json!([key, changed(good.clone(), json!({"kid": "another"}))])).is_ok(), "{key}");
    }
    let other = changed(TestKey::other().jwks()["keys"][0].clone(), json!({"kid": good["kid"]}));
    assert!(read(json!([good, other])).is_err(), "one id, two keys");
    for wrong in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}"] {
        assert!(KeySet::from_jwks(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
