//! Authorization: who makes a request, and whether their key or token has the right that the route needs.

use super::connection_info::ConnectionInfo;
use super::credential;
use super::http::Problem;
use super::http::head::Head;
use super::rest::{Right, Route};
use crate::access::{Credential, Denied, Guard, Principal};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::protocol::ErrorReply;
use crate::sync::Arc;

pub(crate) struct Authorization {
    guard: Arc<Guard>,
    metrics: SharedMetrics,
    log: LimitedLog,
    tokens_log: LimitedLog,
}

impl Authorization {
    pub(crate) fn new(guard: Arc<Guard>, metrics: SharedMetrics) -> Authorization {
        Authorization {
            guard,
            metrics,
            log: LimitedLog::new("requests without a valid credential"),
            tokens_log: LimitedLog::new("refused tokens"),
        }
    }

    /// Checks a REST request: 401 without a valid key, 403 without the right. Neither tells whether the topic or the path
    /// exists. Notes the key in the connection.
    pub(crate) fn check(
        &self,
        head: &Head,
        route: &Route,
        connection: &ConnectionInfo,
    ) -> Result<(), Problem> {
        if self.guard.is_open() {
            return Ok(());
        }
        let right = route.right();
        if right == Right::Public {
            return Ok(());
        }
        let admitted = self.admit(connection, || match route {
            Route::StreamEvents(_) => credential::of_event_stream(head),
            _ => credential::of_request(head),
        });
        let principal = admitted.ok_or_else(|| self.unauthorized(connection))?;
        require(&principal, &right)?;
        connection.belongs_to(principal);
        Ok(())
    }

    /// Checks who opens a WebSocket. Its session checks the right of each message.
    pub(crate) fn check_handshake(
        &self,
        head: &Head,
        connection: &ConnectionInfo,
    ) -> Result<Principal, Problem> {
        self.admit(connection, || credential::of_handshake(head))
            .ok_or_else(Problem::unauthorized)
    }

    /// The holder of a further token on a connection that was opened with one: it must be of the same user. May wait for the
    /// keys of tokens.
    pub(crate) fn renew(
        &self,
        token: &str,
        current: &Principal,
        connection: &ConnectionInfo,
    ) -> Option<Principal> {
        let renewed = self.noted(connection, self.guard.admit_token(token.as_bytes()))?;
        let is_same_user = renewed.user() == current.user();
        if !is_same_user {
            limited!(
                self.tokens_log,
                info,
                "a token of another user was refused",
                connection = connection.id,
                peer = %connection.client()
            );
        }
        is_same_user.then_some(renewed)
    }

    fn admit(
        &self,
        connection: &ConnectionInfo,
        presented: impl FnOnce() -> Option<Credential>,
    ) -> Option<Principal> {
        self.noted(connection, self.guard.admit(presented))
    }

    /// Counts and logs why a token was refused, which the client does not get.
    fn noted(
        &self,
        connection: &ConnectionInfo,
        admitted: Result<Principal, Denied>,
    ) -> Option<Principal> {
        if let Err(Denied::Token(refused)) = admitted {
            let reason = refused.label();
            self.metrics.tokens_refused.count(reason);
            limited!(
                self.tokens_log,
                info,
                "a token was refused",
                connection = connection.id,
                peer = %connection.client(),
                reason
            );
        }
        admitted.ok()
    }

    /// Whether the key or the token of the last request is still valid.
    pub(crate) fn is_still_valid(&self, connection: &ConnectionInfo) -> bool {
        connection.is_admitted_by(&self.guard)
    }

    fn unauthorized(&self, connection: &ConnectionInfo) -> Problem {
        self.metrics.auth_failures.count("rest");
        limited!(
            self.log,
            info,
            "a request without a valid credential was refused",
            connection = connection.id,
            peer = %connection.client()
        );
        Problem::unauthorized()
    }
}

fn require(principal: &Principal, right: &Right) -> Result<(), Problem> {
    let missing = |error: &ErrorReply| Err(Problem::forbidden(error.message.clone()));
    match right {
        Right::Publish(topic) if !principal.may_publish(topic.as_str()) => {
            missing(&ErrorReply::may_not_publish(topic.as_str()))
        }
        Right::Subscribe(topic) if !principal.may_subscribe(topic.as_str()) => {
            missing(&ErrorReply::may_not_subscribe(topic.as_str()))
        }
        Right::Admin if !principal.is_admin() => Err(Problem::forbidden(
            "The credential has no right to administer",
        )),
        _ => Ok(()),
    }
}
