//! `threadcast token new`: signs a token, to try tokens out.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use threadcast::{InvalidJwtSecret, JwtSecret, NewToken, NewTokenError};

use super::error::{CliError, wrong_secret, wrong_value};
use super::value::{self, Ttl};

/// Where the secret comes from unless a file has it: no flag, which other users of the machine could see.
const VARIABLE: &str = "PUBSUB_JWT_SECRET";
/// More is no secret.
const MAX_FILE_BYTES: u64 = 4096;
/// A token for longer than this is a key.
const MAX_TTL: Duration = Duration::from_secs(365 * 86_400);

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Sign a token with the secret of a server (HS256), and print it
    #[command(after_help = EXAMPLES)]
    New(Box<New>),
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// File with the secret [default: the variable PUBSUB_JWT_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// The user
    #[arg(long, value_name = "USER")]
    sub: Option<String>,

    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "1h")]
    #[arg(value_parser = value::ttl(Duration::from_secs(1)..=MAX_TTL))]
    ttl: Ttl,

    /// Topic, or pattern, that its holder may publish to; may be repeated
    #[arg(long, value_name = "TOPIC")]
    publish: Vec<String>,

    /// Topic, or pattern, that its holder may subscribe to; may be repeated
    #[arg(long, value_name = "TOPIC")]
    subscribe: Vec<String>,

    /// Let its holder create and delete topics, and read the state of the server
    #[arg(long)]
    admin: bool,

    /// The audience, where the server asks for one
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,

    /// The issuer, where the server asks for one
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
}

pub(super) const EXAMPLES: &str = "Examples:
  export PUBSUB_JWT_SECRET=$(openssl rand -hex 32)
  threadcast token new --sub ann --subscribe 'shop.*'          for an hour
  threadcast token new --admin --ttl 5m --secret-file secret   for five minutes, with all rights to administer
  threadcast sub orders --key $(threadcast token new --subscribe orders)

The token alone goes to standard output. It is a credential: whoever has it may use it until it expires.

Exit codes: 0 signed and printed, 1 failed, 2 the command line or the secret is wrong.";

/// Fails if the token cannot be printed, also to a closed pipe.
pub(super) fn new(new: New) -> Result<(), CliError> {
    let secret = secret(new.secret_file.as_deref())?;
    let token = NewToken {
        user: new.sub,
        publish: new.publish,
        subscribe: new.subscribe,
        admin: new.admin,
        audience: new.audience,
        issuer: new.issuer,
        ..NewToken::expiring_in(new.ttl.0)
    };
    let signed = token.sign(&secret).map_err(|error| match error {
        NewTokenError::User => {
            let user = token.user.as_deref().unwrap_or_default();
            CliError::usage(wrong_value("--sub", user, error))
        }
        NewTokenError::Topic => CliError::usage(format!("--publish, --subscribe: {error}")),
        NewTokenError::Signature => CliError::failed(error),
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{signed}")
        .and_then(|()| out.flush())
        .map_err(|error| CliError::failed(format!("standard output: {error}")))
}

fn secret(file: Option<&Path>) -> Result<JwtSecret, CliError> {
    let (origin, secret) = match file {
        Some(file) => {
            let origin = format!("--secret-file {}", file.display());
            let read = read(file).map_err(|error| CliError::usage(format!("{origin}: {error}")))?;
            (origin, read)
        }
        None => (VARIABLE.to_owned(), env::var(VARIABLE).unwrap_or_default()),
    };
    if file.is_none() && secret.is_empty() {
        let text = format!("a secret is needed: --secret-file FILE, or the variable {VARIABLE}");
        return Err(CliError::usage(text));
    }
    JwtSecret::new(&secret)
        .map_err(|InvalidJwtSecret| CliError::usage(wrong_secret(&origin, InvalidJwtSecret)))
}

/// The text of a file without the line break at its end, which editors add.
fn read(file: &Path) -> io::Result<String> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "too large for a secret");
    if std::fs::metadata(file)?.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let text = std::fs::read_to_string(file)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
