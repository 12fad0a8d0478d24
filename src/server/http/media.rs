//! What a client says about media types, reduced to words of our own for the handlers: of its own none reaches them.

use super::fields::{Fields, trim, values};

/// Tells a handler what the body is labelled as: `json` for every label under which JSON is taken, `none` or `other`.
pub(crate) const BODY_TYPE_HEADER: &str = "x-body-type";

/// Tells a handler which text the client would rather have: `plain`, or `openmetrics`, which is also that of a client that
/// does not care.
pub(crate) const PREFERENCE_HEADER: &str = "x-preference";

/// What is handed on of the fields of a request.
pub(super) fn of_request(fields: &Fields) -> Vec<(String, String)> {
    let said = [
        (BODY_TYPE_HEADER, body_type(fields)),
        (PREFERENCE_HEADER, preference(fields)),
    ];
    said.map(|(name, word)| (name.to_owned(), word.to_owned()))
        .into()
}

fn body_type(fields: &Fields) -> &'static str {
    let mut labels = values(fields, "content-type");
    match (labels.next(), labels.next()) {
        (None, _) => "none",
        (Some(label), None) if may_be_json(label) => "json",
        _ => "other",
    }
}

fn may_be_json(label: &str) -> bool {
    let (media_type, _parameters) = parts(label);
    match media_type.strip_prefix("application/") {
        Some("json" | "x-www-form-urlencoded") => true,
        Some(subtype) => subtype
            .strip_suffix("+json")
            .is_some_and(|name| !name.is_empty()),
        None => media_type.is_empty(),
    }
}

fn preference(fields: &Fields) -> &'static str {
    let accept: Vec<&str> = values(fields, "accept").collect();
    let weight = |range: &[&str]| weight(&accept, range).unwrap_or(0.0);
    let openmetrics = weight(&["application/openmetrics-text", "application/*", "*/*"]);
    match weight(&["text/plain", "text/*", "*/*"]) > openmetrics {
        true => "plain",
        false => "openmetrics",
    }
}

/// How much a media type is wanted (RFC 9110, 12.5.1): the range that names it most closely counts. The ranges that
/// cover it are given, closest first.
fn weight(accept: &[&str], ranges: &[&str]) -> Option<f32> {
    let items = || accept.iter().flat_map(|field| field.split(',')).map(parts);
    let of = |range: &str| {
        let named = items().filter(|(media_type, _)| media_type == range);
        named
            .map(|(_, parameters)| quality(parameters))
            .reduce(f32::max)
    };
    ranges.iter().find_map(|range| of(range))
}

/// What is not understood weighs nothing.
fn quality(parameters: &str) -> f32 {
    let quality = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        trim(name).eq_ignore_ascii_case("q").then(|| trim(value))
    });
    quality.map_or(1.0, |value| value.parse().unwrap_or(0.0))
}

/// A media type in lower case, and its parameters.
fn parts(text: &str) -> (String, &str) {
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
    (trim(media_type).to_ascii_lowercase(), parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str, values: &[&str]) -> Fields {
        let field = |value: &&str| (name.to_owned(), (*value).to_owned());
        values.iter().map(field).collect()
    }

    #[test]
    fn labels_of_bodies_are_sorted_into_three_classes() {
        for (labels, class) in [
            (&["application/json"][..], "json"),
            (&["Application/JSON; charset=utf-8"], "json"),
            (&["application/json ; charset=utf-8"], "json"),
            (&["application/vnd.a+json"], "json"),
            (&["application/x-www-form-urlencoded"], "json"),
            (&[""], "json"),
            (&[], "none"),
            (&["text/plain"], "other"),
            (&["text/json"], "other"),
            (&["application/+json"], "other"),
            (&["application/jsonx"], "other"),
            (&["application/json", "application/json"], "other"),
        ] {
            let said = body_type(&fields("content-type", labels));
            assert_eq!(said, class, "{labels:?}");
        }
    }

    #[test]
    fn plain_text_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let older =
            "application/vnd.google.protobuf;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (accept, expected) in [
            (&[][..], "openmetrics"),
            (&["*/*"], "openmetrics"),
            (&[prometheus], "openmetrics"),
            (&[older], "plain"),
            (&[browser], "openmetrics"),
            (&["text/plain"], "plain"),
            (&["TEXT/Plain ; Q=0.2", "application/json"], "plain"),
            (&["text/*"], "plain"),
            (
                &["text/plain;q=0.5", "application/openmetrics-text;q=0.4"],
                "plain",
            ),
            (&["text/plain;q=0, */*"], "openmetrics"),
            (&["text/plain;q=much"], "openmetrics"),
            (&["", ",;,=q", "text/plain;q=nan"], "openmetrics"),
        ] {
            let said = preference(&fields("accept", accept));
            assert_eq!(said, expected, "{accept:?}");
        }
    }
}
