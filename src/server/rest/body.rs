//! Parses the body of a request as one strict JSON object. Does not interpret its fields.

use serde_json::value::RawValue;

use super::problems;
use crate::protocol::StrictObject;
use crate::server::http::{Problem, Request};

/// The named fields of the body, in the order of the names. Other fields are ignored, unless one appears twice.
pub(super) fn read_object<'a, const N: usize>(
    request: &'a Request,
    names: &[&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Problem> {
    if !request.body_may_be_json {
        return Err(problems::unsupported_media_type());
    }
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| problems::invalid("body: not valid UTF-8"))?;
    let StrictObject { fields, error } = StrictObject::parse(text, names);
    match error {
        Some(error) => Err(problems::invalid(format_args!("body: {error}"))),
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{post, post_labelled_otherwise};
    use super::*;

    fn refusal(request: &Request) -> (u16, String) {
        let problem = read_object(request, &["a"]).unwrap_err();
        (problem.status, problem.detail)
    }

    #[test]
    fn a_body_that_is_no_object_says_what_it_is() {
        let rows: [(&[u8], &str); 9] = [
            (b"", "body: not valid JSON"),
            (b"{", "body: not valid JSON"),
            (b"{} {}", "body: not valid JSON"),
            (b"a=1", "body: not valid JSON"),
            (b"\xff", "body: not valid UTF-8"),
            (b"[]", "body: not a JSON object"),
            (b"null", "body: not a JSON object"),
            (br#"{"a":1,"a":1}"#, "body: field 'a' appears twice"),
            (br#"{"x":1,"\u0078":1}"#, "body: field 'x' appears twice"),
        ];
        for (body, detail) in rows {
            let request = post("/topics", body);
            assert_eq!(refusal(&request), (422, detail.to_owned()), "{body:?}");
        }
    }

    #[test]
    fn only_another_media_type_is_refused_and_that_before_the_body() {
        let request = post("/topics", br#"{"a": 1.50 }"#);
        let [a] = read_object(&request, &["a"]).unwrap();
        assert_eq!(a.unwrap().get(), "1.50");
        let request = post_labelled_otherwise("/topics", b"");
        assert_eq!(refusal(&request).0, 415);
    }
}
