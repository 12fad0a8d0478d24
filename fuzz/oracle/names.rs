//! Names, patterns and percent-encoding, by the words of the contract.

/// 1–128 characters out of `A–Z a–z 0–9 . _ : -`, beginning with a letter, a digit or `_`.
pub fn is_topic_name(text: &str) -> bool {
    let plain = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_');
    let mut chars = text.chars();
    text.chars().count() <= 128
        && chars.next().is_some_and(plain)
        && chars.all(|c| plain(c) || matches!(c, '.' | ':' | '-'))
}

/// Whether a pattern matches a topic; `None` if it is not a pattern.
pub fn pattern_matches(pattern: &str, topic: &str) -> Option<bool> {
    match pattern.split_once('*') {
        None => is_topic_name(pattern).then(|| pattern == topic),
        Some((prefix, "")) if prefix.is_empty() || is_topic_name(prefix) => Some(
            topic.len() >= prefix.len() && topic.as_bytes()[..prefix.len()] == *prefix.as_bytes(),
        ),
        Some(_) => None,
    }
}

/// Text without its percent-encoding; `None` if the encoding is broken or the result is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// The segments of a path.
pub fn segments(path: &str) -> Option<Vec<String>> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Some(Vec::new()),
        path => path.split('/').map(decode).collect(),
    }
}

/// The pairs of a query.
pub fn query_pairs(query: &str) -> Option<Vec<(String, String)>> {
    let form = |text: &str| decode(&text.replace('+', "%20"));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Some((form(name)?, form(value)?)),
            None => Some((form(pair)?, String::new())),
        })
        .collect()
}
