//! Whether a Redis can carry a cluster: its version, its role, its settings, and the format of what is in it.

use ::redis::{Connection, cmd};

use super::failure;
use crate::broker::engine::redis::shard::Shard;

/// The format of the keys and channels. Another one is not touched.
const FORMAT: &str = "2";
const MIN_REDIS: (u32, u32) = (6, 2);
const MIN_VALKEY: (u32, u32) = (7, 2);

/// The text that Redis answers to `INFO`.
pub(crate) struct Info<'a>(pub(crate) &'a str);

impl Info<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(field, _)| *field == name);
        found.next().map(|(_, value)| value.trim())
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.field("role") == Some("master")
    }

    /// Another one after a restart or a failover.
    pub(crate) fn replication_id(&self) -> &str {
        self.field("master_replid").unwrap_or_default()
    }
}

/// Checks a Redis, and notes its place and its name. The error is one line for people.
pub(crate) fn check(connection: &mut Connection, shard: &Shard) -> Result<(), String> {
    let info: String = cmd("INFO")
        .query(connection)
        .map_err(|error| failure::of_error(&error))?;
    let info = Info(&info);
    let (server, version, least) = match info.field("valkey_version") {
        Some(version) => ("Valkey", version, MIN_VALKEY),
        None => (
            "Redis",
            info.field("redis_version").unwrap_or_default(),
            MIN_REDIS,
        ),
    };
    if numbers(version) < least {
        let (major, minor) = least;
        return Err(format!(
            "{server} {version} is too old: {major}.{minor} or newer is needed"
        ));
    }
    if !info.is_primary() {
        let reason = match shard.url.master {
            None => "it is a replica: the URL must lead to the primary",
            Some(_) => "it is a replica",
        };
        return Err(reason.to_owned());
    }
    shard.runs.connected(info.replication_id());
    let policy = info.field("maxmemory_policy").unwrap_or_default();
    let is_safe = policy == "noeviction";
    let warning = format!(
        "its maxmemory-policy is {policy}: it may evict events by itself; set it to noeviction"
    );
    shard.status.warn((!is_safe).then_some(warning));
    identify(connection, shard)
}

/// Reads the place and the name that this Redis has in the cluster, which it got from the first node. A Redis that has lost
/// everything has none, and gets its old place and a new name.
fn identify(connection: &mut Connection, shard: &Shard) -> Result<(), String> {
    let meta = shard.keys.meta();
    let [format, name, place] = read_meta(connection, &meta)?;
    let format = format.unwrap_or_else(|| FORMAT.to_owned());
    if format != FORMAT {
        return Err(format!(
            "its keys have the format {format}, of another version of threadcast; this one knows format {FORMAT}"
        ));
    }
    // A Redis that has both is not written to: it may be full.
    let (name, place) = match (name, place) {
        (Some(name), Some(place)) => (name, place),
        _ => name_it(connection, shard, &meta)?,
    };
    shard.ring.found(shard.at, &place, &name)
}

/// Gives a Redis a name and its place, unless another node was faster.
fn name_it(
    connection: &mut Connection,
    shard: &Shard,
    meta: &str,
) -> Result<(String, String), String> {
    let new_name = uuid::Uuid::new_v4().simple().to_string();
    let place = shard
        .ring
        .place(shard.at)
        .map_or_else(|| shard.url.to_string(), str::to_owned);
    for (field, value) in [("format", FORMAT), ("name", &new_name), ("place", &place)] {
        let set = cmd("HSETNX")
            .arg(meta)
            .arg(field)
            .arg(value)
            .query::<i64>(connection);
        set.map_err(|error| failure::of_error(&error))?;
    }
    match read_meta(connection, meta)? {
        [_, Some(name), Some(place)] => Ok((name, place)),
        _ => Err("its name was removed".to_owned()),
    }
}

/// Format, name and place.
fn read_meta(connection: &mut Connection, meta: &str) -> Result<[Option<String>; 3], String> {
    let read = cmd("HMGET")
        .arg(meta)
        .arg("format")
        .arg("name")
        .arg("place")
        .query::<(Option<String>, Option<String>, Option<String>)>(connection);
    let (format, name, place) = read.map_err(|error| failure::of_error(&error))?;
    Ok([format, name, place])
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("6.10.1") > numbers("6.2.0"));
        assert!(numbers("7.0.15") > numbers("6.2"));
        assert_eq!(numbers("unknown"), (0, 0));
    }
}
