//! The reasons why a WebSocket connection ends, with their close codes, metric labels and texts.

use std::fmt;

use crate::config::OverflowPolicy;
use crate::protocol::{CloseCode, TopicName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The peer sent a close frame, with this code if any.
    PeerClosed(Option<u16>),
    /// The peer went away without a close frame.
    PeerGone,
    /// The peer broke RFC 6455.
    Protocol(String),
    InvalidUtf8,
    TooBig,
    /// Too many fragments or control frames, or a message that was not finished in time.
    Policy(&'static str),
    /// The overflow policy ended the connection: the topic for which it was too slow, and the policy.
    SlowConsumer(TopicName, OverflowPolicy),
    /// A write did not finish in time.
    WriteTimeout,
    /// The peer did not answer a ping.
    Heartbeat,
    Shutdown,
    /// Its key was removed, or its rights changed.
    Unauthorized,
    /// Its token expired.
    TokenExpired,
    /// An administrator closed it.
    Administrator,
    /// The one topic of an event stream was deleted.
    TopicDeleted,
    /// The one subscription of an event stream was taken over.
    SubscriptionReplaced,
    /// A panic in code of this connection.
    Internal,
}

impl EndReason {
    /// The label in the metrics. Contains no text of the peer.
    pub(super) fn label(&self) -> &'static str {
        match self {
            EndReason::PeerClosed(_) => "peer_closed",
            EndReason::PeerGone => "peer_gone",
            EndReason::Protocol(_) => "protocol",
            EndReason::InvalidUtf8 => "invalid_utf8",
            EndReason::TooBig => "too_big",
            EndReason::Policy(_) => "policy",
            EndReason::SlowConsumer(..) => "slow_consumer",
            EndReason::WriteTimeout => "write_timeout",
            EndReason::Heartbeat => "heartbeat",
            EndReason::Shutdown => "shutdown",
            EndReason::Unauthorized => "unauthorized",
            EndReason::TokenExpired => "token_expired",
            EndReason::Administrator => "administrator",
            EndReason::TopicDeleted => "topic_deleted",
            EndReason::SubscriptionReplaced => "subscription_replaced",
            EndReason::Internal => "internal",
        }
    }

    /// The code of the close frame.
    pub(super) fn close_code(&self) -> CloseCode {
        match self {
            EndReason::PeerClosed(code) => CloseCode(code.unwrap_or(CloseCode::NORMAL.0)),
            EndReason::PeerGone => CloseCode::NORMAL,
            // Only event streams end so; they have no close codes.
            EndReason::TopicDeleted | EndReason::SubscriptionReplaced => CloseCode::NORMAL,
            EndReason::Protocol(_) => CloseCode::PROTOCOL,
            EndReason::InvalidUtf8 => CloseCode::INVALID_UTF8,
            EndReason::TooBig => CloseCode::TOO_BIG,
            EndReason::Policy(_) => CloseCode::POLICY,
            EndReason::SlowConsumer(..) | EndReason::WriteTimeout => CloseCode::SLOW_CONSUMER,
            EndReason::Heartbeat => CloseCode::HEARTBEAT,
            EndReason::Shutdown => CloseCode::GOING_AWAY,
            EndReason::Unauthorized | EndReason::TokenExpired => CloseCode::UNAUTHORIZED,
            EndReason::Administrator => CloseCode::ADMINISTRATOR,
            EndReason::Internal => CloseCode::INTERNAL,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::PeerClosed(_) => f.write_str("closed by peer"),
            EndReason::PeerGone => f.write_str("peer gone"),
            EndReason::Protocol(what) => write!(f, "protocol error: {what}"),
            EndReason::InvalidUtf8 => f.write_str("invalid UTF-8"),
            EndReason::TooBig => f.write_str("message too big"),
            EndReason::Policy(what) => write!(f, "policy: {what}"),
            EndReason::SlowConsumer(topic, _) => write!(f, "slow consumer of '{topic}'"),
            EndReason::WriteTimeout => f.write_str("write timeout"),
            EndReason::Heartbeat => f.write_str("no answer to pings"),
            EndReason::Shutdown => f.write_str("server shutting down"),
            EndReason::Unauthorized => f.write_str("key withdrawn or changed"),
            EndReason::TokenExpired => f.write_str("token expired"),
            EndReason::Administrator => f.write_str("closed by an administrator"),
            EndReason::TopicDeleted => f.write_str("topic deleted"),
            EndReason::SubscriptionReplaced => f.write_str("subscription replaced"),
            EndReason::Internal => f.write_str("internal error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::metrics::Metrics;

    #[test]
    fn every_end_reason_has_a_documented_close_code_and_a_counter() {
        let topic = TopicName::new("t").unwrap();
        let reasons = [
            EndReason::PeerClosed(None),
            EndReason::PeerGone,
            EndReason::Protocol(String::new()),
            EndReason::InvalidUtf8,
            EndReason::TooBig,
            EndReason::Policy(""),
            EndReason::SlowConsumer(topic, OverflowPolicy::Block),
            EndReason::WriteTimeout,
            EndReason::Heartbeat,
            EndReason::Shutdown,
            EndReason::Unauthorized,
            EndReason::TokenExpired,
            EndReason::Administrator,
            EndReason::TopicDeleted,
            EndReason::SubscriptionReplaced,
            EndReason::Internal,
        ];
        for reason in &reasons {
            // A new reason does not compile here. Add it to the list above, too.
            match reason {
                EndReason::PeerClosed(_) | EndReason::PeerGone | EndReason::Protocol(_) => {}
                EndReason::InvalidUtf8 | EndReason::TooBig | EndReason::Policy(_) => {}
                EndReason::SlowConsumer(..) | EndReason::WriteTimeout => {}
                EndReason::Heartbeat | EndReason::Shutdown => {}
                EndReason::Unauthorized | EndReason::Administrator => {}
                EndReason::TopicDeleted | EndReason::SubscriptionReplaced => {}
                EndReason::TokenExpired | EndReason::Internal => {}
            }
        }
        let codes: BTreeSet<u64> = reasons
            .iter()
            .map(|reason| reason.close_code().0.into())
            .collect();

        let text = crate::server::rest::documents::ASYNCAPI;
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        let listed = document["channels"]["socket"]["x-close-codes"].as_array();
        let listed = listed.unwrap().iter().map(|known| known["code"].as_u64());
        assert_eq!(listed.collect::<Option<BTreeSet<_>>>().unwrap(), codes);

        let metrics = Metrics::default();
        for reason in &reasons {
            metrics.disconnects.count(reason.label());
        }
        let counts = metrics.disconnects.counts();
        assert_eq!(counts.map(|(_, count)| count), [1; 16]);
    }
}
