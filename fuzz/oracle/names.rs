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
    let stars = pattern.bytes().filter(|byte| *byte == b'*').count();
    if stars == 0 {
        return is_topic_name(pattern).then(|| pattern == topic);
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-*".contains(&byte);
    let is_valid = pattern.len() <= 128 && stars <= 4 && pattern.bytes().all(is_allowed);
    is_valid.then(|| {
        // Which beginnings of the topic the part of the pattern so far matches, by their length.
        let mut ends = vec![false; topic.len() + 1];
        ends[0] = true;
        for byte in pattern.bytes() {
            let before = ends.clone();
            for at in 0..ends.len() {
                ends[at] = match byte {
                    b'*' => before[..=at].contains(&true),
                    _ => at > 0 && before[at - 1] && topic.as_bytes()[at - 1] == byte,
                };
            }
        }
        ends[topic.len()]
    })
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
