//! Texts that are tokens, and texts that are not.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{EncodingKey, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::verification_keys::tests::{jwk, key_file};
use super::*;
use crate::access::NewToken;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn of_secret() -> Verifier {
    verifier(TokenSettings::default())
}

fn verifier(settings: TokenSettings) -> Verifier {
    let secret = JwtSecret::new(SECRET).ok();
    let settings = TokenSettings { secret, ..settings };
    Verifier::new(settings).unwrap().unwrap()
}

/// Signs anything with the secret.
fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET).unwrap();
    encode(&Header::default(), claims, &key).unwrap()
}

fn refusal(verifier: &Verifier, text: &str) -> Option<Refused> {
    verifier.verify(text.as_bytes()).err()
}

#[test]
fn without_anybody_who_signs_there_are_no_tokens() {
    assert!(Verifier::new(TokenSettings::default()).unwrap().is_none());
}

#[test]
fn a_token_that_is_signed_here_is_accepted_here() {
    let token = NewToken {
        user: Some("ann".to_owned()),
        publish: vec!["orders".to_owned()],
        ..NewToken::expiring_in(Duration::from_secs(60))
    };
    let text = token.sign(&JwtSecret::new(SECRET).unwrap()).unwrap();
    let token = of_secret().verify(text.as_bytes()).unwrap();
    assert_eq!(token.user.unwrap().as_str(), "ann");
    assert!(token.rights.may_publish("orders") && !token.rights.may_subscribe("orders"));
}

#[test]
fn the_times_are_exact() {
    let verifier = of_secret();
    let at = |exp: u64, nbf: u64| signed(&json!({"exp": exp, "nbf": nbf}));
    assert_eq!(refusal(&verifier, &at(now() + 60, now())), None);
    assert_eq!(
        refusal(&verifier, &at(now(), 0)),
        Some(Refused::Expired),
        "no longer at exp"
    );
    assert_eq!(
        refusal(&verifier, &at(now() - 1, 0)),
        Some(Refused::Expired)
    );
    let early = refusal(&verifier, &at(now() + 60, now() + 10));
    assert_eq!(early, Some(Refused::NotYetValid));
    let text = signed(&json!({"exp": now() + 60, "nbf": "0"}));
    assert_eq!(refusal(&verifier, &text), Some(Refused::Claims));
}

#[test]
fn audience_and_issuer_must_be_those_that_are_configured() {
    let plain = of_secret();
    let strict = verifier(TokenSettings {
        audience: Some("here".to_owned()),
        issuer: Some("https://login".to_owned()),
        ..TokenSettings::default()
    });
    let with = |claims: Value| {
        let mut all = json!({"exp": now() + 60});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        signed(&all)
    };
    for (claims, by_plain, by_strict) in [
        (json!({}), None, Some(Refused::Audience)),
        (
            json!({"aud": "here"}),
            Some(Refused::Audience),
            Some(Refused::Issuer),
        ),
        (
            json!({"iss": "https://login"}),
            None,
            Some(Refused::Audience),
        ),
        (
            json!({"aud": "here", "iss": "https://login"}),
            Some(Refused::Audience),
            None,
        ),
        (
            json!({"aud": ["there", "here"], "iss": "https://login"}),
            Some(Refused::Audience),
            None,
        ),
        (
            json!({"aud": "there", "iss": "https://login"}),
            Some(Refused::Audience),
            Some(Refused::Audience),
        ),
        (
            json!({"aud": [], "iss": "https://login"}),
            Some(Refused::Audience),
            Some(Refused::Audience),
        ),
        (
            json!({"aud": 1, "iss": "https://login"}),
            Some(Refused::Audience),
            Some(Refused::Audience),
        ),
        (
            json!({"aud": "here", "iss": "https://other"}),
            Some(Refused::Audience),
            Some(Refused::Issuer),
        ),
        (
            json!({"aud": "here", "iss": ["https://login"]}),
            Some(Refused::Claims),
            Some(Refused::Claims),
        ),
    ] {
        let text = with(claims.clone());
        assert_eq!(refusal(&plain, &text), by_plain, "{claims}");
        let refused = refusal(&strict, &text);
        // Which of two missing claims is named does not matter.
        let either = claims == json!({}) && refused == Some(Refused::Issuer);
        assert!(refused == by_strict || either, "{claims}: {refused:?}");
    }
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let path = folder.join("rsa.pub.pem");
    let keys = JwtKeys::new(path.to_str().unwrap()).ok();
    let settings = TokenSettings {
        keys,
        ..TokenSettings::default()
    };
    let alone = Verifier::new(settings.clone()).unwrap().unwrap();
    let beside = verifier(settings);
    let pem = EncodingKey::from_secret(&key_file("rsa.pub.pem")).unwrap();
    let forged = encode(&Header::default(), &json!({"exp": now() + 60}), &pem).unwrap();
    assert_eq!(refusal(&alone, &forged), Some(Refused::Algorithm));
    assert_eq!(refusal(&beside, &forged), Some(Refused::Signature));
    let key = EncodingKey::from_rsa_pem(&key_file("rsa.pem")).unwrap();
    let good = encode(
        &Header::new(Algorithm::RS256),
        &json!({"exp": now() + 60}),
        &key,
    )
    .unwrap();
    assert_eq!(refusal(&alone, &good), None);
    assert_eq!(refusal(&beside, &good), None);
}

#[test]
fn a_key_with_an_id_is_found_by_it() {
    let set = json!({"keys": [jwk("p256.pub.pem", Some("a")), jwk("ed25519.pub.pem", Some("b"))]});
    let verifier = of_secret();
    verifier.replace(VerificationKeys::parse(set.to_string().as_bytes()).unwrap());
    // Without a source of public keys they do not count.
    let key = EncodingKey::from_ec_pem(&key_file("p256.pem")).unwrap();
    let header = Header {
        kid: Some("a".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let text = encode(&header, &json!({"exp": now() + 60}), &key).unwrap();
    assert_eq!(refusal(&verifier, &text), Some(Refused::Algorithm));
}

#[test]
fn nested_junk_is_refused_where_it_is_looked_at() {
    let verifier = of_secret();
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let key = EncodingKey::from_secret(SECRET).unwrap();
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let judged = |header: &str, claims: &str| {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        refusal(&verifier, &format!("{message}.{}", signature.unwrap()))
    };
    let (header, exp) = (r#"{"alg":"HS256"}"#, r#""exp":9999999999"#);
    let of_rights = format!(r#"{{{exp},"threadcast":{{"publish":{deep}}}}}"#);
    assert_eq!(judged(header, &of_rights), Some(Refused::Claims));
    let of_header = format!(r#"{{"alg":"HS256","x":{deep}}}"#);
    assert_eq!(
        judged(&of_header, &format!("{{{exp}}}")),
        Some(Refused::Malformed)
    );
    assert_eq!(judged(header, &format!(r#"{{{exp},"x":{deep}}}"#)), None);
}

proptest! {
    #[test]
    fn any_text_is_judged_without_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let verifier = of_secret();
        prop_assert!(verifier.verify(text.as_bytes()).is_err());
        prop_assert!(verifier.verify(&bytes).is_err());
    }

    #[test]
    fn any_parts_are_judged_without_panic(header in "\\PC{0,60}|\\{\"alg\":\"(none|HS256|RS256|ES256|EdDSA)\"[^.]{0,40}\\}", claims in "\\PC{0,60}", signature in ".{0,60}") {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let text = format!("{}.{}.{}", encode(&header), encode(&claims), encode(&signature));
        prop_assert!(of_secret().verify(text.as_bytes()).is_err());
    }

    #[test]
    fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), bit in 0..7_u8) {
        let text = signed(&json!({"exp": now() + 60, "threadcast": {"publish": ["a"]}}));
        let mut changed = text.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let verifier = of_secret();
        prop_assert!(verifier.verify(text.as_bytes()).is_ok());
        prop_assert!(verifier.verify(&changed).is_err());
    }
}
