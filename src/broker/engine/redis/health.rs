//! Whether a Redis can carry a cluster: its version, its role, its settings, and the format of what is in it.

use ::redis::{Connection, cmd};

use super::shard::Shard;

/// The format of the keys and channels. Another one is not touched.
const FORMAT: &str = "1";
const MIN_REDIS: (u32, u32) = (6, 2);
const MIN_VALKEY: (u32, u32) = (7, 2);

/// Checks a Redis, and notes its place and its name. The error is one line for people.
pub(super) fn check(connection: &mut Connection, shard: &Shard) -> Result<(), String> {
    let fail = |error: ::redis::RedisError| error.to_string();
    let info: String = cmd("INFO").query(connection).map_err(fail)?;
    let field = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(field, _)| *field == name);
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let (server, version, least) = match field("valkey_version") {
        Some(version) => ("Valkey", version, MIN_VALKEY),
        None => (
            "Redis",
            field("redis_version").unwrap_or_default(),
            MIN_REDIS,
        ),
    };
    if numbers(&version) < least {
        let (major, minor) = least;
        return Err(format!(
            "{server} {version} is too old: {major}.{minor} or newer is needed"
        ));
    }
    if field("role").as_deref() != Some("master") {
        return Err("it is a replica".to_owned());
    }
    shard
        .runs
        .connected(&field("master_replid").unwrap_or_default());
    let policy = field("maxmemory_policy").unwrap_or_default();
    let is_safe = policy == "noeviction";
    let warning = format!(
        "its maxmemory-policy is {policy}: it may evict events by itself; set it to noeviction"
    );
    shard.warn((!is_safe).then_some(warning));
    identify(connection, shard)
}

/// Reads the place and the name that this Redis has in the cluster, which it got from the first node. A Redis that has lost
/// everything has none, and gets its old place and a new name.
fn identify(connection: &mut Connection, shard: &Shard) -> Result<(), String> {
    let fail = |error: ::redis::RedisError| error.to_string();
    let meta = shard.keys.meta();
    let new_name = uuid::Uuid::new_v4().simple().to_string();
    let place = shard
        .ring
        .place(shard.at)
        .map_or_else(|| shard.url.to_string(), str::to_owned);
    let format = cmd("HGET")
        .arg(&meta)
        .arg("format")
        .query::<Option<String>>(connection);
    let format = format.map_err(fail)?.unwrap_or_else(|| FORMAT.to_owned());
    if format != FORMAT {
        return Err(format!(
            "its keys have the format {format}, of another version of threadcast; this one knows format {FORMAT}"
        ));
    }
    for (field, value) in [("format", FORMAT), ("name", &new_name), ("place", &place)] {
        let set = cmd("HSETNX")
            .arg(&meta)
            .arg(field)
            .arg(value)
            .query::<i64>(connection);
        set.map_err(fail)?;
    }
    let read = cmd("HMGET")
        .arg(&meta)
        .arg("name")
        .arg("place")
        .query(connection);
    let (name, place): (String, String) = read.map_err(fail)?;
    shard.ring.found(shard.at, &place, &name)
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
