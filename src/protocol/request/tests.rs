use super::*;
use proptest::prelude::*;

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

fn error(text: &str) -> String {
    parse_request(text).1.unwrap_err().message.into_owned()
}

#[test]
fn fixed_texts_follow_the_order_of_checks() {
    for kind in ["subscribe", "unsubscribe", "publish"] {
        for topic in ["", r#""topic":null,"#, r#""topic":"","#] {
            let text = format!(r#"{{{topic}"type":"{kind}","request_id":5}}"#);
            assert_eq!(error(&text), "topic is required");
        }
    }
    assert_eq!(
        error(r#"{"type":"subscribe","topic":"/"}"#),
        "client_id is required"
    );
    assert_eq!(
        error(r#"{"type":"unsubscribe","topic":5,"client_id":""}"#),
        "client_id is required"
    );
    assert_eq!(
        error(r#"{"type":"publish","topic":5}"#),
        "message is required"
    );
    assert_eq!(
        error(r#"{"type":"publish","topic":5,"message":{}}"#),
        "topic must be a string"
    );
    assert_eq!(
        error(r#"{"type":"publish","topic":"t","message":{}}"#),
        "message.id must be a valid UUID"
    );
    let no_payload = format!(r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}"}}}}"#);
    assert_eq!(error(&no_payload), "message.payload is required");
}

#[test]
fn request_id_is_read_even_if_other_fields_are_wrong() {
    for text in [
        r#"{"type":"nonsense","request_id":"r"}"#,
        r#"{"topic":5,"request_id":"r","topic":6}"#,
        r#"{"request_id":"r","type":"ping""#,
        r#"{"request_id":"r"} tail"#,
        r#"{"type":"subscribe","topic":"t","client_id":"c","last_n":-1,"request_id":"\u0072"}"#,
    ] {
        let (id, request) = parse_request(text);
        assert_eq!(id.as_ref().map(RequestId::as_str), Some("r"), "{text}");
        assert!(request.is_err(), "{text}");
    }
    for text in [
        r#"{"type":"ping","request_id":5}"#,
        r#"{"type":"ping","request_id":"a","request_id":"a"}"#,
    ] {
        let (id, request) = parse_request(text);
        assert!(id.is_none() && request.is_err(), "{text}");
    }
}

#[test]
fn request_ids_of_128_characters_are_valid_and_of_129_are_not() {
    assert!(RequestId::new("é".repeat(128).into()).is_ok());
    assert!(RequestId::new("é".repeat(129).into()).is_err());
}

#[test]
fn usual_publish_takes_the_fast_path() {
    let usual = |rest: &str| {
        format!(
            r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}","payload":{{}}}}{rest}}}"#
        )
    };
    assert!(fast_path::read_publish(&usual("")).is_some());
    assert!(fast_path::read_publish(&usual(r#","request_id":"r""#)).is_some());
    assert!(fast_path::read_publish(&usual(r#","idempotent":true,"request_id":"r""#)).is_some());
    assert!(fast_path::read_publish(&usual(r#","last_n":null"#)).is_none());
}

#[test]
fn array_of_field_values_is_refused() {
    for text in [
        format!(r#"["publish","t",{{"id":"{ID}","payload":1}},"r"]"#),
        format!(r#"["publish","t",["{ID}",1],null]"#),
        format!(r#"{{"type":"publish","topic":"t","message":["{ID}",1],"request_id":"q"}}"#),
    ] {
        assert!(parse_request(&text).1.is_err(), "{text}");
    }
}

#[test]
fn null_payload_counts_as_present() {
    let text = format!(
        r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}","payload":null,"x":1}}}}"#
    );
    let Ok(Request::Publish { message, .. }) = parse_request(&text).1 else {
        panic!("refused")
    };
    assert_eq!(message.payload(), "null");
}

#[test]
fn start_is_last_n_or_a_position() {
    let start = |fields: &str| {
        let text = format!(r#"{{"type":"subscribe","topic":"t","client_id":"c"{fields}}}"#);
        match parse_request(&text).1 {
            Ok(Request::Subscribe(subscribe)) => Ok(subscribe.start_at),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(start(""), Ok(StartAt::Last(0)));
    assert_eq!(
        start(r#","last_n":null,"after_seq":null,"epoch":null"#),
        Ok(StartAt::Last(0))
    );
    assert_eq!(start(r#","last_n":5"#), Ok(StartAt::Last(5)));
    let after = |epoch: Option<&str>| StartAt::After {
        seq: 7,
        epoch: epoch.map(str::to_owned),
    };
    assert_eq!(start(r#","after_seq":7,"last_n":0"#), Ok(after(None)));
    assert_eq!(start(r#","after_seq":7,"epoch":"e""#), Ok(after(Some("e"))));
    for wrong in [
        r#","epoch":"e""#,
        r#","after_seq":1,"last_n":1"#,
        r#","last_n":1.5"#,
        r#","after_seq":"1""#,
    ] {
        assert!(start(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn idempotent_is_a_boolean_and_compares_ids_as_uuids() {
    let key = |id: &str, rest: &str| {
        let text = format!(
            r#"{{"type":"publish","topic":"t","message":{{"id":"{id}","payload":1}}{rest}}}"#
        );
        match parse_request(&text) {
            (_, Ok(Request::Publish { message, .. })) => Ok(message.key()),
            (_, other) => Err(other.unwrap_err().message.into_owned()),
        }
    };
    for rest in ["", r#","idempotent":false"#, r#","idempotent":null"#] {
        assert_eq!(key(ID, rest), Ok(None), "{rest}");
    }
    let uuid = uuid::Uuid::try_parse(ID).ok();
    for id in [
        ID.to_owned(),
        ID.to_uppercase(),
        ID.replace('-', ""),
        format!("{{{ID}}}"),
        format!("urn:uuid:{ID}"),
        ID.replacen('5', r"\u0035", 1),
    ] {
        assert_eq!(key(&id, r#","idempotent":true"#), Ok(uuid), "{id}");
        assert_eq!(key(&id, r#","x":1,"idempotent": true "#), Ok(uuid), "{id}");
    }
    for wrong in ["1", "0", r#""true""#, "[]", "{}"] {
        let text = key(ID, &format!(r#","idempotent":{wrong}"#)).unwrap_err();
        assert_eq!(text, "idempotent must be true or false", "{wrong}");
    }
}

/// Publishes put together from valid and invalid fields.
fn publishes() -> impl Strategy<Value = String> {
    let field = "(\"type\":\"(publish|ping|p\\\\u0075blish)\"|\"topic\":(\"t\"|\"\"|\"/\"|null|5|\"\\\\u0074\")|\"request_id\":(\"r\"|null|5|\"\\\\n\")|\"idempotent\":(true|false|null|1|\"true\")|\"x\":1|\"message\":\\{(\"id\":\"(550e8400e29b41d4a716446655440000|x)\",?)?(\"payload\":(null|\\[1 , 2\\]|1e999|\\{\\}))?(,\"y\":0)?\\})";
    proptest::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// `read_any` agrees with the fast path on every message that the fast path accepts.
    #[test]
    fn fast_path_agrees_with_read_any(text in publishes()) {
        if let Some((id, Request::Publish { topic, message })) = fast_path::read_publish(&text) {
            let (long_id, long) = read_any(&text);
            let Ok(Request::Publish { topic: long_topic, message: long_message }) = long else {
                return Err(TestCaseError::fail(text));
            };
            prop_assert_eq!(id, long_id);
            prop_assert_eq!(topic, long_topic);
            prop_assert_eq!((message.id(), message.payload()), (long_message.id(), long_message.payload()));
            prop_assert_eq!(message.key(), long_message.key());
        }
    }

    #[test]
    fn parsing_never_panics_on_text(text in ".{0,80}") {
        let _ = parse_request(&text);
    }

    #[test]
    fn parsing_never_panics_on_field_values(values in proptest::collection::vec("null|\"\"|\"t\"|5|-1|\\{\\}|\\[\\]|true", 9)) {
        for kind in ["subscribe", "unsubscribe", "publish", "ping"] {
            let mut text = format!(r#"{{"type":"{kind}""#);
            for (name, value) in FIELDS[1..].iter().zip(&values) {
                text.push_str(&format!(r#","{name}":{value}"#));
            }
            text.push('}');
            let _ = parse_request(&text);
        }
    }
}
