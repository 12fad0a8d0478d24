//! Keys as they are written, and what each is for.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

/// A file of `tests/keys`.
pub(in crate::access::token) fn key_file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    fs::read(folder.join(name)).unwrap()
}

/// A public key of `tests/keys` as a JWK.
pub(in crate::access::token) fn jwk(name: &str, id: Option<&str>) -> Value {
    let pem = key_file(name);
    let key = DecodingKey::from_rsa_pem(&pem)
        .or_else(|_| DecodingKey::from_ec_pem(&pem))
        .or_else(|_| DecodingKey::from_ed_pem(&pem));
    let mut jwk = Jwk::from_decoding_key(&key.unwrap(), None).unwrap();
    jwk.common.key_id = id.map(str::to_owned);
    serde_json::to_value(jwk).unwrap()
}

fn set(keys: &[Value]) -> Result<VerificationKeys, String> {
    VerificationKeys::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn algorithms(keys: &VerificationKeys) -> Vec<Algorithm> {
    keys.0.iter().map(|key| key.algorithm).collect()
}

fn refused(text: &[u8]) -> String {
    VerificationKeys::parse(text).map(drop).unwrap_err()
}

#[test]
fn a_public_key_is_for_one_algorithm() {
    for (name, algorithm) in [
        ("rsa.pub.pem", Algorithm::RS256),
        ("p256.pub.pem", Algorithm::ES256),
        ("ed25519.pub.pem", Algorithm::EdDSA),
    ] {
        let pem = VerificationKeys::parse(&key_file(name)).unwrap();
        assert_eq!(algorithms(&pem), [algorithm], "{name}");
        let of_set = set(&[jwk(name, None)]).unwrap();
        assert_eq!(algorithms(&of_set), [algorithm], "{name}");
    }
}

#[test]
fn what_is_no_public_key_is_refused_in_one_line_that_says_nothing_of_it() {
    let private = key_file("rsa.pem");
    assert!(refused(&private).contains("private key"));
    let two = [key_file("rsa.pub.pem"), key_file("p256.pub.pem")].concat();
    assert!(refused(&two).contains("several PEM blocks"));
    for name in ["short_rsa.pub.pem", "p384.pub.pem"] {
        let error = refused(&key_file(name));
        assert_eq!(
            error,
            "a public key must be RSA of 2048 to 8192 bits, P-256 or Ed25519"
        );
    }
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "secret", "[]", "\u{0}", certificate] {
        assert_eq!(
            refused(text.as_bytes()),
            "it is neither a public key (PEM) nor a JWKS"
        );
    }
    for text in ["{", "{}", r#"{"keys":1}"#, r#"{"keys":{"secret":1}}"#] {
        assert_eq!(refused(text.as_bytes()), "it is no JWKS");
    }
    assert!(refused(br#"{"keys":[]}"#).contains("it has no key"));
}

#[test]
fn keys_for_something_else_are_left_out() {
    let with = |name: &str, field: &str, value: Value| {
        let mut jwk = jwk("rsa.pub.pem", Some(name));
        jwk[field] = value;
        jwk
    };
    let keys = [
        json!({"kty": "oct", "kid": "symmetric", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}),
        json!({"kty": "new", "kid": "unknown"}),
        json!({"kty": "EC", "kid": "no point", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "kid": "no signatures", "crv": "X25519", "x": "AAAA"}),
        json!(7),
        jwk("p384.pub.pem", Some("p384")),
        jwk("short_rsa.pub.pem", Some("short")),
        with("encryption", "use", json!("enc")),
        with("signing", "key_ops", json!(["sign"])),
        with("another algorithm", "alg", json!("RS512")),
        with("pss", "alg", json!("PS256")),
        with("hmac", "alg", json!("HS256")),
    ];
    assert!(set(&keys).is_err());
    let good = [
        with("a", "use", json!("sig")),
        with("b", "key_ops", json!(["verify"])),
        with("c", "alg", json!("RS256")),
    ];
    let all = set(&[&keys[..], &good[..]].concat()).unwrap();
    let ids: Vec<_> = all.0.iter().map(|key| key.id.as_deref()).collect();
    assert_eq!(ids, [Some("a"), Some("b"), Some("c")]);
}

#[test]
fn a_set_with_too_many_keys_is_refused() {
    let key = jwk("ed25519.pub.pem", None);
    assert_eq!(set(&vec![key.clone(); MAX_KEYS]).unwrap().len(), MAX_KEYS);
    assert!(set(&vec![key; MAX_KEYS + 1]).is_err());
}

#[test]
fn a_key_is_found_by_its_id_and_for_its_algorithm() {
    let found = |keys: &VerificationKeys, algorithm, id| keys.find(algorithm, id).map(drop);
    let several = set(&[
        jwk("rsa.pub.pem", Some("a")),
        jwk("p256.pub.pem", Some("b")),
        jwk("ed25519.pub.pem", None),
    ])
    .unwrap();
    assert_eq!(found(&several, Algorithm::RS256, Some("a")), Ok(()));
    assert_eq!(found(&several, Algorithm::ES256, Some("b")), Ok(()));
    for algorithm in [
        Algorithm::ES256,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::HS256,
    ] {
        let wrong = found(&several, algorithm, Some("a"));
        assert_eq!(wrong, Err(Refused::Algorithm), "{algorithm:?}");
    }
    for id in [None, Some("c"), Some(""), Some("A")] {
        assert_eq!(
            found(&several, Algorithm::EdDSA, id),
            Err(Refused::UnknownKey),
            "{id:?}"
        );
    }
    let named = set(&[jwk("rsa.pub.pem", Some("a"))]).unwrap();
    assert_eq!(found(&named, Algorithm::RS256, None), Ok(()));
    assert_eq!(
        found(&named, Algorithm::RS256, Some("b")),
        Err(Refused::UnknownKey)
    );
    let nameless = VerificationKeys::parse(&key_file("rsa.pub.pem")).unwrap();
    for id in [None, Some("any")] {
        assert_eq!(found(&nameless, Algorithm::RS256, id), Ok(()));
        assert_eq!(
            found(&nameless, Algorithm::HS256, id),
            Err(Refused::Algorithm)
        );
    }
    let none = VerificationKeys::default();
    assert_eq!(found(&none, Algorithm::RS256, None), Err(Refused::NoKeys));
}
