//! What an allowed origin looks like. Never decides whether a request may pass.

/// The ports a browser leaves out of the `Origin` header it sends.
const DEFAULT_PORTS: [(&str, &str); 4] = [
    ("http", ":80"),
    ("ws", ":80"),
    ("https", ":443"),
    ("wss", ":443"),
];

/// The form in which a browser would send this origin: lower case, no default port.
/// `*` stands for any origin. `None` when it is no origin: anything but `scheme://host[:port]`.
///
/// ```
/// use threadcast::config::normalize_origin;
///
/// assert_eq!(normalize_origin("https://Shop.example:443").as_deref(), Some("https://shop.example"));
/// assert_eq!(normalize_origin("https://shop.example/cart"), None);
/// ```
#[must_use]
pub fn normalize_origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    (is_scheme(scheme) && is_authority(authority)).then(|| {
        let implied = DEFAULT_PORTS
            .iter()
            .find(|(of, _)| *of == scheme)
            .map(|(_, port)| *port);
        let authority = implied
            .and_then(|port| authority.strip_suffix(port))
            .unwrap_or(authority);
        format!("{scheme}://{authority}")
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
fn is_authority(text: &str) -> bool {
    let host_end = text
        .rfind(']')
        .map_or_else(|| text.find(':').unwrap_or(text.len()), |at| at + 1);
    let (host, port) = text.split_at(host_end);
    is_host(host) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_host(text: &str) -> bool {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    }
}

fn is_port(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normalize_origin;

    #[test]
    fn an_origin_has_a_scheme_a_host_and_nothing_after() {
        for good in [
            "*",
            "http://localhost:3000",
            "https://a.example",
            "http://[::1]:8080",
            "app://x",
        ] {
            assert_eq!(normalize_origin(good).as_deref(), Some(good));
        }
        let wrong = [
            "",
            "null",
            "localhost",
            "localhost:3000",
            "http://",
            "://a",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a:",
            "http://a:0",
            "http://a:99999",
            "http://a:+1",
            "http://u@a",
            "http://a b",
            "http://[::1",
            "http://[x]",
            "http://::1",
            "**",
            "http://*.example",
        ];
        for text in wrong {
            assert_eq!(normalize_origin(text), None, "{text}");
        }
    }

    #[test]
    fn a_default_port_is_dropped_as_browsers_do() {
        assert_eq!(normalize_origin("HTTP://A:80").as_deref(), Some("http://a"));
        assert_eq!(
            normalize_origin("http://a:443").as_deref(),
            Some("http://a:443")
        );
        assert_eq!(
            normalize_origin("http://a:8080").as_deref(),
            Some("http://a:8080")
        );
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in "[a-z]{1,5}://[A-Za-z0-9.\\[\\]:-]{0,12}") {
            if let Some(once) = normalize_origin(&text) {
                prop_assert_eq!(normalize_origin(&once), Some(once));
            }
        }
    }
}
