//! `threadcast key new`: the only time a secret is shown.

use std::io::{self, Write};

use threadcast::{NewKey, NewKeyError};

use super::failure::{Failure, wrong_value};

pub(super) const EXAMPLES: &str = "Examples:
  threadcast key new dashboard                        a secret, and its entry for the keys file
  threadcast key new dashboard | sed -n 2p            the secret alone

Exit codes: 0 made and printed, 1 it could not be, 2 the name is not allowed.";

/// Prints the secret alone on its line, so that a script can find it, and then its entry. Whoever cannot be told the
/// secret has no key.
pub(super) fn new(name: &str) -> Result<(), Failure> {
    let key = NewKey::generate(name).map_err(|error| match error {
        NewKeyError::Name => Failure::usage(wrong_value("NAME", name, error)),
        NewKeyError::Random => Failure::failed(error),
    })?;
    let (secret, entry) = (key.secret(), key.entry());
    let text = format!(
        "# The secret. It is shown this once and kept nowhere:\n\
         {secret}\n\
         \n\
         # Its entry for the keys file:\n\
         {entry}"
    );
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("standard output: {error}")))
}
