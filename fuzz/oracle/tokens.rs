//! What a token that is signed with HS256 may claim, where neither an audience nor an issuer is configured.

use crate::json::{self, Node, Value};
use crate::names;

pub struct Token {
    pub user: Option<String>,
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    pub admin: bool,
    /// Whether it must be accepted. Otherwise it may be refused for something that is not judged here.
    pub is_plain: bool,
}

/// An `exp` so near to now is not judged.
const CLOCK_SECS: f64 = 10.0;
/// From here on an `exp` is not judged.
const FAR: f64 = 1e15;

/// `None` if it must be refused.
pub fn read(header: &str, claims: &str, now_secs: f64) -> Option<Token> {
    let header_is_plain = read_header(header)?;
    let claims = json::parse(claims)?;
    let members = members(&claims)?;
    let exp = once(members, "exp")?;
    let exp_secs: f64 = number(exp)?.parse().ok()?;
    (exp_secs > now_secs - CLOCK_SECS).then_some(())?;
    if members.iter().any(|(key, _)| key.as_deref() == Some("aud")) {
        let aud = once(members, "aud")?;
        matches!(aud.value, Value::Null).then_some(())?;
    }
    let user = match optional(members, "sub")? {
        Some(sub) => Some(sub.string().filter(|sub| is_user(sub))?.to_owned()),
        None => None,
    };
    if let Some(iss) = optional(members, "iss")? {
        iss.string()?;
    }
    let mut token = Token {
        user,
        publish: Vec::new(),
        subscribe: Vec::new(),
        admin: false,
        is_plain: header_is_plain
            && exp_secs > now_secs + CLOCK_SECS
            && exp_secs < FAR
            && only(members, &["exp", "sub", "threadcast"]),
    };
    if let Some(grant) = optional(members, "threadcast")? {
        let Value::Object(rights) = &grant.value else {
            return None;
        };
        only(rights, &["publish", "subscribe", "admin"]).then_some(())?;
        token.publish = topics(rights, "publish")?;
        token.subscribe = topics(rights, "subscribe")?;
        token.admin = match rights
            .iter()
            .any(|(key, _)| key.as_deref() == Some("admin"))
        {
            true => match once(rights, "admin")?.text {
                "true" => true,
                "false" => false,
                _ => return None,
            },
            false => false,
        };
    }
    Some(token)
}

type Members<'a> = [(Option<String>, Node<'a>)];

/// Whether nothing but the algorithm is in it; `None` if the token must be refused.
fn read_header(header: &str) -> Option<bool> {
    let header = json::parse(header)?;
    let members = members(&header)?;
    (once(members, "alg")?.string()? == "HS256").then_some(())?;
    let has_crit = optional(members, "crit")?.is_some();
    (!has_crit).then(|| only(members, &["alg"]))
}

fn members<'a, 'b>(node: &'b Node<'a>) -> Option<&'b Members<'a>> {
    match &node.value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// The value of a key that occurs once.
fn once<'a, 'b>(members: &'b Members<'a>, name: &str) -> Option<&'b Node<'a>> {
    let mut named = members
        .iter()
        .filter(|(key, _)| key.as_deref() == Some(name));
    let (_, node) = named.next()?;
    named.next().is_none().then_some(node)
}

/// The value of a key that may be missing or `null`; `None` if it occurs twice.
fn optional<'a, 'b>(members: &'b Members<'a>, name: &str) -> Option<Option<&'b Node<'a>>> {
    if !members.iter().any(|(key, _)| key.as_deref() == Some(name)) {
        return Some(None);
    }
    let node = once(members, name)?;
    Some((!matches!(node.value, Value::Null)).then_some(node))
}

fn only(members: &Members<'_>, names: &[&str]) -> bool {
    members
        .iter()
        .all(|(key, _)| key.as_deref().is_some_and(|key| names.contains(&key)))
}

fn number<'a>(node: &Node<'a>) -> Option<&'a str> {
    matches!(node.value, Value::Number).then_some(node.text)
}

fn is_user(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn topics(rights: &Members<'_>, name: &str) -> Option<Vec<String>> {
    if !rights.iter().any(|(key, _)| key.as_deref() == Some(name)) {
        return Some(Vec::new());
    }
    let Value::Array(items) = &once(rights, name)?.value else {
        return None;
    };
    let topic = |item: &Node<'_>| {
        let text = item.string()?;
        names::pattern_matches(text, "").map(|_| text.to_owned())
    };
    (items.len() <= 100).then_some(())?;
    items.iter().map(topic).collect()
}
