//! Checks whether a page of an origin may act on this server, against cross-site requests and WebSocket hijacking.
//!
//! Pure. Origins are compared by scheme, host and port, never as text.

use super::authority::Authority;
use super::head::Head;

/// Allows a request without Origin, with that of its own Host, or with a listed one.
pub(crate) fn allowed(head: &Head, listed: &[String]) -> bool {
    let origins: Vec<&str> = head.values("origin").collect();
    origins_allowed(&origins, head.header("host"), listed)
}

/// `origins` are the values of all Origin fields. More than one is refused in any case.
pub(crate) fn origins_allowed(origins: &[&str], host: Option<&str>, listed: &[String]) -> bool {
    match origins {
        [] => true,
        [origin] => {
            is_listed(origin, listed) || host.is_some_and(|host| is_same_host(origin, host))
        }
        _ => false,
    }
}

fn is_same_host(origin: &str, host: &str) -> bool {
    let (Some(origin), Some(host)) = (Origin::parse(origin), Authority::parse(host)) else {
        return false;
    };
    let is_web = origin.default_port().is_some();
    is_web && origin.authority.same_place(&host, origin.default_port())
}

/// Whether an entry of the list names this origin; `*` names any.
pub(super) fn is_listed(origin: &str, listed: &[String]) -> bool {
    let parsed = Origin::parse(origin);
    listed
        .iter()
        .any(|entry| entry == "*" || parsed.as_ref().is_some_and(|origin| origin.is_same(entry)))
}

struct Origin {
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// `scheme://host[:port]` and nothing after it; `null` is none.
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(is_scheme_byte);
        let authority = Authority::parse(authority)?;
        valid.then(|| Origin {
            scheme: scheme.to_ascii_lowercase(),
            authority,
        })
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }

    fn is_same(&self, entry: &str) -> bool {
        Origin::parse(entry).is_some_and(|entry| {
            entry.scheme == self.scheme
                && entry
                    .authority
                    .same_place(&self.authority, self.default_port())
        })
    }
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(origin: &str, host: &str, listed: &[&str]) -> bool {
        let listed: Vec<String> = listed.iter().map(|&entry| entry.to_owned()).collect();
        origins_allowed(&[origin], Some(host), &listed)
    }

    #[test]
    fn no_origin_and_the_own_host_are_allowed() {
        assert!(origins_allowed(&[], Some("localhost:8080"), &[]));
        assert!(origins_allowed(&[], None, &[]));
        assert!(one("http://localhost:8080", "localhost:8080", &[]));
        assert!(one("HTTP://LocalHost:8080", "localhost:8080", &[]));
        assert!(one("http://example.com", "example.com:80", &[]));
        assert!(one("https://example.com", "example.com", &[]));
        assert!(one("https://example.com:443", "example.com", &[]));
        assert!(one("http://[::1]:8080", "[0::1]:8080", &[]));
    }

    #[test]
    fn tricks_are_refused() {
        for origin in [
            "null",
            "",
            "*",
            "localhost:8080",
            "http://localhost:8080.evil.com",
            "http://evil.com#localhost:8080",
            "http://evil.com?localhost:8080",
            "http://localhost:8080@evil.com",
            "http://evil.com@localhost:8080",
            "http://localhost:8080/",
            "http://localhost:8080/path",
            "http://localhost",
            "http://localhost:80801",
            "http://xlocalhost:8080",
            "http://localhost.:8080",
            "https://localhost:8081",
            "http://localhost:8080, http://localhost:8080",
            "http://localhost:8080 http://evil.com",
            "file://localhost:8080",
            "chrome-extension://localhost:8080",
            "http:localhost:8080",
            "http:///localhost:8080",
        ] {
            assert!(
                !one(origin, "localhost:8080", &["https://app.example.com"]),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_second_origin_field_is_refused_even_if_both_are_good() {
        let own = "http://localhost:8080";
        let any = ["*".to_owned()];
        assert!(!origins_allowed(&[own, own], Some("localhost:8080"), &any));
    }

    #[test]
    fn listed_origins_match_whole_and_ignore_case() {
        let listed = [
            "https://App.example.com",
            "http://dev:3000",
            "chrome-extension://abc",
        ];
        assert!(one("https://app.example.com", "localhost", &listed));
        assert!(one("https://app.example.com:443", "localhost", &listed));
        assert!(one("http://DEV:3000", "localhost", &listed));
        assert!(one("chrome-extension://abc", "localhost", &listed));
        assert!(!one("http://app.example.com", "localhost", &listed));
        assert!(!one(
            "https://app.example.com.evil.com",
            "localhost",
            &listed
        ));
        assert!(!one("https://evil.app.example.com", "localhost", &listed));
        assert!(!one("null", "localhost", &["null"]));
    }

    #[test]
    fn a_star_lets_any_single_origin_in() {
        assert!(one("http://evil.com", "localhost", &["*"]));
        assert!(one("null", "localhost", &["*"]));
        assert!(!one("http://evil.com", "localhost", &["http://*"]));
    }

    proptest! {
        #[test]
        fn a_foreign_host_never_passes(tail in "[a-z0-9.:/@#?-]{1,12}") {
            let origin = format!("http://localhost:8080{tail}");
            prop_assert!(!one(&origin, "localhost:8080", &[]));
        }

        #[test]
        fn any_text_is_judged_without_panic(origin in ".{0,64}", host in ".{0,32}") {
            let _ = one(&origin, &host, &[&origin]);
        }
    }
}
