//! Environment variables that begin like those of the settings and are none: most likely typos.

use std::collections::BTreeSet;
use std::env;

use clap::{Command, CommandFactory};
use strsim::levenshtein as differences;

const PREFIX: &str = "PUBSUB_";
/// A known name is suggested if at most one in this many characters behind the prefix differs, or a single one.
const CHARS_PER_DIFFERENCE: usize = 4;

/// A text for each such variable, sorted.
pub(super) fn in_environment() -> Vec<String> {
    let names = env::vars_os().map(|(name, _value)| name.to_string_lossy().into_owned());
    let given: BTreeSet<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    let known = known(&super::Cli::command());
    let unknown = given.difference(&known);
    unknown.map(|name| text(name, &known)).collect()
}

/// The variables of all commands.
fn known(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env());
    let own = own.map(|name| name.to_string_lossy().into_owned());
    let below = command.get_subcommands().flat_map(known);
    own.chain(below).collect()
}

fn text(name: &str, known: &BTreeSet<String>) -> String {
    // A name may be anything.
    let shown: String = name
        .chars()
        .flat_map(char::escape_debug)
        .take(100)
        .collect();
    let near = known.iter().map(|one| match one.starts_with(name) {
        // The unit is missing.
        true => (0, one),
        false => (differences(name, one), one),
    });
    let near = near.min();
    let most = (name.len() - PREFIX.len()) / CHARS_PER_DIFFERENCE;
    match near.filter(|(differences, _)| *differences <= most.max(1)) {
        Some((_, near)) => format!("{shown} is no setting, and is ignored; is {near} meant?"),
        None => format!("{shown} is no setting, and is ignored"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_additions_removals_and_changes() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "ac", 1),
            ("abc", "axc", 1),
            ("PUBSUB_HISTROY_SIZE", "PUBSUB_HISTORY_SIZE", 2),
        ] {
            assert_eq!(differences(one, other), expected, "{one} {other}");
            assert_eq!(differences(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_variables_of_settings_and_of_commands_are_known() {
        let known = known(&super::super::Cli::command());
        for name in [
            "PUBSUB_TOPICS",
            "PUBSUB_LOG_LEVEL",
            "PUBSUB_URL",
            "PUBSUB_KEY",
            "PUBSUB_CA_FILE",
        ] {
            assert!(known.contains(name), "{name}");
        }
        let typo = text("PUBSUB_TOPIC_IDLE", &known);
        assert!(typo.ends_with("is PUBSUB_TOPIC_IDLE_SECS meant?"), "{typo}");
        let typo = text("PUBSUB_NOTHING\n", &known);
        assert_eq!(typo, r"PUBSUB_NOTHING\n is no setting, and is ignored");
        let typo = text("PUBSUB_HISTROY_SIZE", &known);
        assert!(typo.ends_with("is PUBSUB_HISTORY_SIZE meant?"), "{typo}");
    }
}
