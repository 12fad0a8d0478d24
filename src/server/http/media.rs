//! Content negotiation: what `Content-Type` and `Accept` mean for the handlers.

use super::fields::{Fields, trim, values};

/// Whether the label of a body allows JSON. A body without a label does, and one labelled as a form, which is what
/// curl sends.
pub(crate) fn body_may_be_json(fields: &Fields) -> bool {
    let mut labels = values(fields, "content-type");
    match (labels.next(), labels.next()) {
        (None, _) => true,
        (Some(label), None) => may_be_json(label),
        _ => false,
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

/// Whether a client prefers plain text to OpenMetrics. One without a preference does not.
pub(crate) fn prefers_plain_text(fields: &Fields) -> bool {
    let accept: Vec<&str> = values(fields, "accept").collect();
    let weight = |range: &[&str]| weight(&accept, range).unwrap_or(0.0);
    let openmetrics = weight(&["application/openmetrics-text", "application/*", "*/*"]);
    weight(&["text/plain", "text/*", "*/*"]) > openmetrics
}

/// The weight of a media type (RFC 9110, 12.5.1): that of its most specific range. `ranges` are those that cover it,
/// most specific first.
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

/// A malformed quality counts as 0.
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
    fn a_label_allows_json_or_does_not() {
        for (labels, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["application/json ; charset=utf-8"], true),
            (&["application/vnd.a+json"], true),
            (&["application/x-www-form-urlencoded"], true),
            (&[""], true),
            (&[], true),
            (&["text/plain"], false),
            (&["text/json"], false),
            (&["application/+json"], false),
            (&["application/jsonx"], false),
            (&["application/json", "application/json"], false),
        ] {
            let allows = body_may_be_json(&fields("content-type", labels));
            assert_eq!(allows, expected, "{labels:?}");
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
            (&[][..], false),
            (&["*/*"], false),
            (&[prometheus], false),
            (&[older], true),
            (&[browser], false),
            (&["text/plain"], true),
            (&["TEXT/Plain ; Q=0.2", "application/json"], true),
            (&["text/*"], true),
            (
                &["text/plain;q=0.5", "application/openmetrics-text;q=0.4"],
                true,
            ),
            (&["text/plain;q=0, */*"], false),
            (&["text/plain;q=much"], false),
            (&["", ",;,=q", "text/plain;q=nan"], false),
        ] {
            let prefers = prefers_plain_text(&fields("accept", accept));
            assert_eq!(prefers, expected, "{accept:?}");
        }
    }
}
