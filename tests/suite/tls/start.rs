//! Wrong certificates stop the start.

use std::process::Stdio;

use crate::harness::{Authority, CertificateFiles, ChildServer, Issued};

/// The one line of a start with these files.
fn refused(variables: &[(&str, &str)]) -> String {
    let mut command = ChildServer::command(variables);
    let command = command.env("PUBSUB_PORT", "0").stdin(Stdio::null());
    let output = command.output().expect("the server binary runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn refused_pair(issued: &Issued) -> String {
    let files = CertificateFiles::new(issued);
    let variables = [
        ("PUBSUB_TLS_CERT", files.cert.name()),
        ("PUBSUB_TLS_KEY", files.key.name()),
    ];
    let line = refused(&variables);
    for secret in issued.key.lines().filter(|line| line.len() > 20) {
        assert!(
            secret.starts_with("-----") || !line.contains(secret),
            "{line}"
        );
    }
    line
}

#[test]
fn one_without_the_other_is_a_wrong_value() {
    let files = CertificateFiles::new(&Authority::new().issue());
    let line = refused(&[("PUBSUB_TLS_KEY", files.key.name())]);
    assert!(
        line.contains("PUBSUB_TLS_KEY") && line.contains("tls_cert"),
        "{line}"
    );
    let line = refused(&[("PUBSUB_TLS_CERT", files.cert.name())]);
    assert!(
        line.contains("PUBSUB_TLS_KEY") && line.contains("none"),
        "{line}"
    );
}

#[test]
fn pair_that_does_not_belong_together_is_a_wrong_value() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    let key = other.key;
    let line = refused_pair(&Issued { key, ..one });
    assert!(
        line.contains("PUBSUB_TLS_KEY") && line.contains("not the key of the certificate"),
        "{line}"
    );
}

#[test]
fn files_that_hold_something_else_are_wrong_values() {
    let issued = Authority::new().issue();
    let of_key = |key: &str| {
        let key = key.to_owned();
        refused_pair(&Issued {
            key,
            ..issued.clone()
        })
    };
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for key in ["", "no key", &issued.cert, encrypted] {
        let line = of_key(key);
        assert!(line.contains("PUBSUB_TLS_KEY"), "{line}");
        assert!(line.contains("private key"), "{line}");
    }
    for cert in ["", "no certificate", &issued.key] {
        let cert = cert.to_owned();
        let line = refused_pair(&Issued {
            cert,
            ..issued.clone()
        });
        assert!(line.contains("PUBSUB_TLS_CERT"), "{line}");
        assert!(line.contains("certificates (PEM)"), "{line}");
    }
}
