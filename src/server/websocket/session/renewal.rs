//! How a session takes a further token, and ends what that does not allow any more.

use std::time::Instant;

use super::Session;
use crate::access::{Expiry, Principal};
use crate::broker::{PatternSubscription, SubscriberSink, Subscription};
use crate::protocol::{
    ErrorReply, Notice, PresentedToken, push_notice, push_renewed, push_withdrawn,
    push_withdrawn_pattern,
};
use crate::server::authorization::Authorization;
use crate::server::websocket::token_timer::{Due, TokenTimer};
use crate::sync::Arc;

impl Session {
    /// Lets the client present further tokens, which `authorization` checks.
    pub(in crate::server) fn renewable(self, authorization: &Arc<Authorization>) -> Session {
        Session {
            authorization: Some(Arc::clone(authorization)),
            ..self
        }
    }

    /// Takes a further token. What it does not allow ends behind the ack. A token that is refused changes nothing.
    pub(super) fn authenticate(
        &mut self,
        token: &PresentedToken<'_>,
        request_id: Option<&str>,
    ) -> Result<(), ErrorReply> {
        let authorization = self.authorization.clone();
        let (Some(authorization), Some(_)) = (authorization, &self.token_timer) else {
            return Err(ErrorReply::not_opened_with_a_token());
        };
        // The check may wait for the keys of tokens, and nobody may wait for this thread meanwhile.
        self.flush();
        let renewed = authorization.renew(token.as_str(), &self.principal, &self.connection.info);
        let renewed = renewed.ok_or_else(ErrorReply::token_refused)?;
        if let Some(expiry) = renewed.expiry() {
            push_renewed(&mut self.replies, request_id, expiry.timestamp());
        }
        self.connection.info.belongs_to(renewed.clone());
        self.token_timer = renewed.expiry().map(TokenTimer::new);
        self.principal = renewed;
        self.flush();
        self.connection.outbox.wait_until_read();
        self.end_what_is_not_allowed();
        Ok(())
    }

    fn end_what_is_not_allowed(&mut self) {
        let connection = Arc::clone(&self.connection);
        for pattern in connection.subscriptions.patterns() {
            if !self.principal.may_subscribe_to_all(pattern.pattern()) {
                self.withdraw_pattern(&pattern);
            }
        }
        for subscription in connection.subscriptions() {
            let topic = subscription.topic().name().as_str();
            if subscription.pattern().is_none() && !self.principal.may_subscribe(topic) {
                self.withdraw(&subscription);
            }
        }
    }

    fn withdraw(&self, subscription: &Arc<Subscription>) {
        let connection = &self.connection;
        if subscription.is_superseded() {
            // The newer one is acknowledged, and this connection has not ended its own yet.
            connection.replaced(subscription);
            return;
        }
        let topic = subscription.topic();
        connection.outbox.notify(|cursors, frames| {
            if let Some(end) = cursors.end(subscription) {
                push_withdrawn(frames, topic.name(), end.seq);
            }
        });
        topic.cursor_moved();
        topic.unsubscribe(subscription);
        connection.remove_subscription(subscription);
    }

    fn withdraw_pattern(&self, pattern: &Arc<PatternSubscription>) {
        if !self.broker.patterns().end(pattern) {
            // The newer one is acknowledged, and this connection has not ended its own yet.
            self.connection.pattern_replaced(pattern);
            return;
        }
        let positions = self.end_subscriptions_of(pattern);
        self.connection.outbox.notify(|_, frames| {
            push_withdrawn_pattern(frames, pattern.pattern(), &positions);
        });
    }

    /// Whether its token has expired; `false` without a token.
    pub(in crate::server::websocket) fn has_expired(&self) -> bool {
        self.token_timer.is_some() && self.principal.has_expired()
    }

    /// The timer of its token, if it has one.
    pub(in crate::server::websocket) fn token_timer(&self) -> Option<&TokenTimer> {
        self.token_timer.as_ref()
    }

    /// Lets the client hear that its token expires, when it is time. Returns `true` if it has expired.
    pub(in crate::server::websocket) fn check_token(&mut self) -> bool {
        let Some(timer) = &mut self.token_timer else {
            return false;
        };
        match timer.due(Instant::now()) {
            Some(Due::Notice(expiry)) => self.send_expiring(expiry),
            Some(Due::Expired) => return true,
            None => {}
        }
        false
    }

    fn send_expiring(&mut self, expiry: Expiry) {
        let exp = expiry.timestamp();
        let mut notice = Vec::new();
        push_notice(&mut notice, Notice::TokenExpiring { exp });
        self.reply(&notice);
        self.flush();
    }
}

/// The timer of a principal's token.
pub(super) fn timer_of(principal: &Principal) -> Option<TokenTimer> {
    principal.expiry().map(TokenTimer::new)
}
