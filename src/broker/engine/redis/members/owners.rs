//! Who is subscribed where: each client id of a topic has one owner in the cluster, the newest subscription.

use std::collections::HashMap;

use ::redis::{Cmd, Value, cmd};
use parking_lot::Mutex;

use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, scripts, shard::Shard};
use crate::broker::mirror::Place;
use crate::broker::registry::{Caller, TopicError};
use crate::broker::topic::Departure;
use crate::protocol::{ClientId, Timestamp, TopicName, UserName};
use crate::sync::Arc;

/// Takeovers of subscriptions that are not open here yet.
const MAX_EARLY: usize = 10_000;

/// Subscriptions that ended here and are still owners in Redis, and takeovers that came before their subscription.
#[derive(Default)]
pub(crate) struct Owners {
    departures: Mutex<Vec<Departure>>,
    early: Mutex<HashMap<(TopicName, ClientId), u64>>,
}

impl Owners {
    pub(crate) fn departed(&self, departure: Departure) {
        self.departures.lock().push(departure);
    }

    /// Whether a newer subscription than this one has taken over before this one was open.
    pub(crate) fn was_replaced(&self, topic: &TopicName, client_id: &ClientId, order: u64) -> bool {
        let mut early = self.early.lock();
        if early.is_empty() {
            return false;
        }
        let key = (topic.clone(), client_id.clone());
        early.get(&key).is_some_and(|newer| *newer > order) && early.remove(&key).is_some()
    }
}

/// The subscription of a client id, as Redis confirmed it.
pub(crate) struct Ownership {
    pub(crate) order: u64,
    /// How far the topic was.
    pub(crate) place: Place,
}

/// Makes a new subscription the owner of its client id.
pub(crate) fn join(
    shard: &Shard,
    topic: &TopicName,
    client_id: &ClientId,
    caller: Caller<'_>,
) -> Result<Ownership, TopicError> {
    shard.check_up()?;
    let answer = shard
        .lane
        .one(join_command(shard, topic, client_id, caller, None))?;
    let words = lane::texts(&answer);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["missing"] => Err(TopicError::NotFound),
        ["ok", order, epoch, seq, token] => Ok(Ownership {
            order: order.parse().map_err(|_| TopicError::Unavailable)?,
            place: Place::parse(epoch, seq, token).ok_or(TopicError::Unavailable)?,
        }),
        _ => Err(TopicError::Unavailable),
    }
}

/// `known` are order and begin of a subscription that is open already.
fn join_command(
    shard: &Shard,
    topic: &TopicName,
    client_id: &ClientId,
    caller: Caller<'_>,
    known: Option<(u64, Timestamp)>,
) -> Cmd {
    let (keys, node) = (&shard.keys, shard.node.id());
    let keys_of_script = [keys.topic(topic), keys.owners(topic), keys.owned(node)];
    let mut join = scripts::call(&scripts::JOIN, &keys_of_script);
    join.arg(topic.as_str())
        .arg(client_id.as_str())
        .arg(node)
        .arg(caller.connection)
        .arg(begin(caller.user, known.map(|(_, since)| since)))
        .arg(keys.node_channels())
        .arg(keys.presence_channel(topic))
        .arg(
            known
                .map(|(order, _)| order.to_string())
                .unwrap_or_default(),
        );
    join
}

/// The end of the text of an owner: the user, if there is one, then when the subscription began, or now. Servers that know no users
/// read only the last word.
fn begin(user: Option<&UserName>, since: Option<Timestamp>) -> String {
    let micros = since.map_or_else(Timestamp::now_micros, Timestamp::micros);
    match user {
        Some(user) => format!("{user} {micros}"),
        None => micros.to_string(),
    }
}

/// When the subscription of an owner began, and its user: what follows order, node and connection in its text.
pub(super) fn since_and_user(owner: &str) -> Option<(Timestamp, Option<UserName>)> {
    let end = owner.splitn(4, ' ').nth(3)?;
    let (user, micros) = match end.rsplit_once(' ') {
        Some((user, micros)) => (UserName::new(user), micros),
        None => (None, end),
    };
    Some((Timestamp::from_micros(micros.parse().ok()?), user))
}

/// A subscription that is open here.
pub(crate) struct Open {
    pub(crate) topic: Arc<Topic>,
    pub(crate) client_id: ClientId,
    order: u64,
    since: Timestamp,
    user: Option<UserName>,
}

impl Open {
    /// As it is named among those of a node.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.topic.name(), self.client_id)
    }
}

/// All subscriptions of this node to topics of this Redis.
pub(crate) fn all_open(shard: &Shard) -> Vec<Open> {
    let of_topic = |topic: Arc<Topic>| {
        let owners = topic.owners().into_iter();
        owners.map(move |subscription| Open {
            topic: Arc::clone(&topic),
            client_id: subscription.client_id().clone(),
            order: subscription.order(),
            since: subscription.since(),
            user: subscription.user(),
        })
    };
    shard.mirrors().into_iter().flat_map(of_topic).collect()
}

/// Says of these subscriptions that they are there. Those whose client id has a newer owner end.
pub(crate) fn rejoin(shard: &Shard, open: &[Open]) -> Result<(), Unavailable> {
    let joins = open.iter().map(|open| {
        let known = Some((open.order, open.since));
        let caller = Caller {
            connection: 0,
            user: open.user.as_ref(),
        };
        join_command(shard, open.topic.name(), &open.client_id, caller, known)
    });
    let answers = shard.lane.call_all(&joins.collect::<Vec<_>>())?;
    for (open, answer) in open.iter().zip(&answers) {
        let words = lane::texts(answer);
        if words.first().is_some_and(|word| word == "replaced") {
            open.topic.supersede(&open.client_id, u64::MAX);
        }
    }
    Ok(())
}

/// Removes the owners whose subscriptions ended here. Those that cannot be removed now are tried again.
pub(crate) fn leave(shard: &Arc<Shard>) -> Result<(), Unavailable> {
    let owners = &shard.appliers.owners;
    let mine = |departure: &Departure| shard.has(&departure.topic);
    let (leaving, others): (Vec<_>, Vec<_>) = std::mem::take(&mut *owners.departures.lock())
        .into_iter()
        .partition(mine);
    owners.departures.lock().extend(others);
    for some in leaving.chunks(lane::MAX_COMMANDS) {
        let leaves: Vec<Cmd> = some
            .iter()
            .map(|departure| {
                let client_id = departure.client_id.as_str();
                let order = departure.order.to_string();
                leave_command(shard, shard.node.id(), &departure.topic, client_id, &order)
            })
            .collect();
        if shard.lane.call(&leaves).is_err() {
            let at = leaving
                .iter()
                .position(|departure| std::ptr::eq(departure, &some[0]));
            owners
                .departures
                .lock()
                .extend(leaving[at.unwrap_or(0)..].iter().cloned());
            return Err(Unavailable);
        }
    }
    Ok(())
}

/// Removes the owner of a client id if it is this subscription of a node. The order `*` is any, of a node that is dead.
pub(crate) fn leave_command(
    shard: &Shard,
    node: &str,
    topic: &TopicName,
    client_id: &str,
    order: &str,
) -> Cmd {
    let keys = &shard.keys;
    let keys_of_script = [
        keys.owners(topic),
        keys.owned(node),
        keys.node(node),
        keys.topic(topic),
        keys.used(topic),
    ];
    let mut leave = scripts::call(&scripts::LEAVE, &keys_of_script);
    leave
        .arg(client_id)
        .arg(order)
        .arg(node)
        .arg(topic.as_str())
        .arg(keys.presence_channel(topic));
    leave
}

/// Like [`leave_command`], of a subscription as it is named among those of a node; `None` for what is no such name.
pub(crate) fn leave_owned(shard: &Shard, node: &str, owned: &str, order: &str) -> Option<Cmd> {
    let (topic, client_id) = split(owned)?;
    Some(leave_command(shard, node, &topic, client_id, order))
}

/// The order of the owner of each of these subscriptions; empty if there is none.
pub(crate) fn orders(
    shard: &Shard,
    owned: &[String],
) -> Result<HashMap<String, String>, Unavailable> {
    let get = |name: &String| {
        let (topic, client_id) = split(name)?;
        let mut get = cmd("HGET");
        get.arg(shard.keys.owners(&topic)).arg(client_id);
        Some((name.clone(), get))
    };
    let (names, gets): (Vec<String>, Vec<Cmd>) = owned.iter().filter_map(get).unzip();
    let answers = shard.lane.call_all(&gets)?;
    let order = |answer| {
        let owner = lane::text(answer);
        owner.split(' ').next().unwrap_or_default().to_owned()
    };
    Ok(names.into_iter().zip(answers.iter().map(order)).collect())
}

fn split(owned: &str) -> Option<(TopicName, &str)> {
    let (topic, client_id) = owned.split_once(' ')?;
    Some((TopicName::new(topic).ok()?, client_id))
}

/// A subscription on another node has taken over this client id.
pub(crate) fn replaced(shard: &Shard, topic: &str, client_id: &ClientId, order: u64) {
    let mirror = shard.topics.get(topic);
    if mirror.is_some_and(|mirror| mirror.supersede(client_id, order)) {
        return;
    }
    let Ok(topic) = TopicName::new(topic) else {
        return;
    };
    let mut early = shard.appliers.owners.early.lock();
    if early.len() >= MAX_EARLY {
        early.clear();
    }
    early.insert((topic, client_id.clone()), order);
}

/// Whether the answer of a command says that there was something to count.
pub(crate) fn count(answer: &Value) -> usize {
    match answer {
        Value::Int(count) => usize::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_owner_has_its_user_and_when_it_began() {
        let ann = UserName::new("Ann 7 of 9").unwrap();
        for user in [None, Some(&ann)] {
            let owner = format!(
                "1700 node 17 {}",
                begin(user, Some(Timestamp::from_micros(42)))
            );
            let (since, read) = since_and_user(&owner).unwrap();
            assert_eq!((since.micros(), read.as_ref()), (42, user));
            // As servers read it that know no users.
            assert_eq!(owner.rsplit(' ').next(), Some("42"));
        }
        assert_eq!(since_and_user("1700 node 17"), None);
        assert_eq!(since_and_user("1700 node 17 x"), None);
    }
}
