//! `threadcast key new`: generates a key. The secret is shown only here.

use std::io::{self, Write};

use clap::Subcommand;
use threadcast::{NewKey, NewKeyError};

use super::error::{CliError, wrong_value};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Generate a secret, and print it with its entry for the keys file
    #[command(after_help = EXAMPLES)]
    New {
        /// Name of the key, in the file and in the log
        name: String,
    },
}

pub(super) const EXAMPLES: &str = "Examples:
  threadcast key new dashboard                        a secret, and its entry for the keys file
  threadcast key new dashboard | sed -n 2p            only the secret

Exit codes: 0 generated and printed, 1 failed, 2 invalid name.";

/// Prints the secret on a line of its own, for scripts, then its entry. Fails if it cannot be printed, also to a closed pipe.
pub(super) fn new(name: &str) -> Result<(), CliError> {
    let key = NewKey::generate(name).map_err(|error| match error {
        NewKeyError::Name => CliError::usage(wrong_value("NAME", name, error)),
        NewKeyError::Random => CliError::failed(error),
    })?;
    let (secret, entry) = (key.secret(), key.entry());
    let text = format!(
        "# The secret. It is shown only once and not stored:\n\
         {secret}\n\
         \n\
         # Its entry for the keys file:\n\
         {entry}"
    );
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| CliError::failed(format!("standard output: {error}")))
}
