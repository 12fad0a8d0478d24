//! Tokens.
//!
//! The first line of the input is a header, the rest are claims. Signed with the secret, they are accepted exactly if they are the header
//! and the claims of a token, and its holder has the user and the rights that it claims. The input itself, which nobody signed, is
//! never accepted, and neither is a signed text of which a byte was changed.

#![no_main]

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use oracle::{names, tokens};
use threadcast::fuzzing::{Holder, Tokens};

const TOPICS: [&str; 5] = ["orders", "orders.eu", "shop.", "_", "a:b-c.d"];
/// A token that is larger is not looked at.
const MAX_TOKEN_BYTES: usize = 8 << 10;

static TOKENS: LazyLock<Tokens> = LazyLock::new(Tokens::default);

fuzz_target!(|data: &[u8]| {
    assert!(TOKENS.holder(data).is_none(), "nobody signed this");
    let text = String::from_utf8_lossy(data);
    let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
    let token = TOKENS.sign(header, claims);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_secs = now.unwrap_or_default().as_secs_f64();
    let expected = tokens::read(header, claims, now_secs);
    match (TOKENS.holder(token.as_bytes()), expected) {
        (Some(holder), Some(expected)) => check_holder(&holder, &expected),
        (None, None) => {}
        (None, Some(expected)) => {
            assert!(
                !expected.is_plain || token.len() > MAX_TOKEN_BYTES,
                "refused"
            );
        }
        (Some(_), None) => panic!("accepted as a token"),
    }
    // Which byte, the input decides.
    let mut changed = token.into_bytes();
    let at = data.iter().map(|byte| usize::from(*byte)).sum::<usize>() % changed.len();
    changed[at] ^= 1;
    assert!(TOKENS.holder(&changed).is_none(), "a changed token");
});

fn check_holder(holder: &Holder, token: &tokens::Token) {
    assert_eq!(holder.user(), token.user.as_deref());
    assert_eq!(holder.is_admin(), token.admin);
    let own = token.publish.iter().chain(&token.subscribe);
    let own = own.map(|pattern| pattern.trim_end_matches('*'));
    for topic in TOPICS.into_iter().chain(own) {
        let allowed = |patterns: &[String]| {
            let mut matches = patterns
                .iter()
                .map(|pattern| names::pattern_matches(pattern, topic));
            matches.any(|matches| matches == Some(true))
        };
        assert_eq!(holder.may_publish(topic), allowed(&token.publish));
        assert_eq!(holder.may_subscribe(topic), allowed(&token.subscribe));
    }
}
