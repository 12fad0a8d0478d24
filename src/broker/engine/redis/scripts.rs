//! The scripts that Redis runs. Each is one step for everybody: no other command comes between its parts.

use std::sync::LazyLock;

use ::redis::{Cmd, Connection, RedisResult, Script, cmd};

macro_rules! scripts {
    ($($name:ident: $file:literal),* $(,)?) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));)*

        /// Loads all of them, so that they can be called by their hashes.
        pub(super) fn load(connection: &mut Connection) -> RedisResult<()> {
            $($name.load(connection)?;)*
            Ok(())
        }
    };
}

scripts! {
    CHANGE: "change.lua",
    CREATE: "create.lua",
    DELETE: "delete.lua",
    END_EPOCH: "end_epoch.lua",
    HEARTBEAT: "heartbeat.lua",
    JOIN: "join.lua",
    LEAVE: "leave.lua",
    PUBLISH: "publish.lua",
}

/// The call of a script with its keys. The caller adds the arguments.
pub(super) fn call(script: &Script, keys: &[String]) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(script.get_hash()).arg(keys.len()).arg(keys);
    call
}
