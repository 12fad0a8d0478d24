//! Who may have a request answered: the credential it presents, held against what its row of the API needs.

use super::credential;
use super::http::Problem;
use super::http::head::Head;
use super::rest::{Need, need};
use crate::access::{Guard, Principal};
use crate::protocol::ErrorReply;

/// Judges a REST request by its head: 401 for strangers, 403 for those who may not. The answer to either does not tell
/// whether what was asked for exists. `None`: nobody was asked.
pub(super) fn request(guard: &Guard, head: &Head) -> Result<Option<Principal>, Problem> {
    if guard.is_open() {
        return Ok(None);
    }
    let need = need(&head.method, &head.path);
    if need == Need::Nothing {
        return Ok(None);
    }
    let principal = guard
        .admit(|| credential::of_request(head))
        .ok_or_else(Problem::unauthorized)?;
    grant(&principal, &need)?;
    Ok(Some(principal))
}

/// Judges who opens a WebSocket; what he may do there is judged message by message.
pub(super) fn handshake(guard: &Guard, head: &Head) -> Result<Principal, Problem> {
    guard
        .admit(|| credential::of_handshake(head))
        .ok_or_else(Problem::unauthorized)
}

fn grant(principal: &Principal, need: &Need) -> Result<(), Problem> {
    let refused = |fault: &ErrorReply| Err(Problem::forbidden(fault.message.clone()));
    match need {
        Need::Publish(topic) if !principal.may_publish(topic.as_str()) => {
            refused(&ErrorReply::may_not_publish(topic.as_str()))
        }
        Need::Subscribe(topic) if !principal.may_subscribe(topic.as_str()) => {
            refused(&ErrorReply::may_not_subscribe(topic.as_str()))
        }
        Need::Admin if !principal.is_admin() => {
            Err(Problem::forbidden("The key has no right to administer"))
        }
        _ => Ok(()),
    }
}
