//! The dashboard: one self-contained page that connects only to this server.
//!
//! The page contains no data. It requests them over REST and the WebSocket, with a key if the server requires one. Its
//! Content-Security-Policy allows only its own script and style, by their hashes, and no other host.

use std::sync::LazyLock;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::http::Response;

const HTML: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = concat!(
    include_str!("dom.js"),
    include_str!("format.js"),
    include_str!("api.js"),
    include_str!("table.js"),
    include_str!("figures.js"),
    include_str!("topics.js"),
    include_str!("connections.js"),
    include_str!("nodes.js"),
    include_str!("tailed_topic.js"),
    include_str!("tail.js"),
    include_str!("subscribers.js"),
    include_str!("app.js"),
);

/// Where style and script are inserted into the page.
const STYLE_MARK: &str = "/*style*/";
const SCRIPT_MARK: &str = "/*script*/";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    HTML.replacen(STYLE_MARK, STYLE, 1)
        .replacen(SCRIPT_MARK, SCRIPT, 1)
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (script, style) = (hash(SCRIPT), hash(STYLE));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
});

/// The page with its headers.
pub(super) fn page() -> Response {
    let body = PAGE.as_bytes().to_vec();
    Response::new(200, "text/html; charset=utf-8", body)
        .with_header("Content-Security-Policy", POLICY.as_str())
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Cache-Control", "no-cache")
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_are_inserted_once_and_cannot_break_out() {
        for (mark, text) in [(STYLE_MARK, STYLE), (SCRIPT_MARK, SCRIPT)] {
            assert_eq!(HTML.matches(mark).count(), 1, "{mark}");
            assert!(PAGE.contains(text));
            assert!(!text.contains("</") && !text.contains('\r'));
        }
    }

    #[test]
    fn script_writes_no_markup_and_names_no_other_host() {
        for dangerous in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
            "sessionStorage",
        ] {
            assert!(!SCRIPT.contains(dangerous), "{dangerous}");
        }
        let hosts = PAGE.match_indices("://").map(|(at, _)| &PAGE[at..at + 13]);
        assert!(hosts.into_iter().all(|host| host == "://www.w3.org"));
    }
}
