//! Runs the server until a signal. Owns what is printed and logged at its start and end.

use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::ArgMatches;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{Pid, getppid};
use threadcast::config::{InvalidConfig, SETTINGS, SettingDefinition};
use threadcast::{Config, ConnectionCap, Server, StartError};
use tracing::{info, warn};

use super::error::{CliError, wrong_value};
use super::logging::Log;
use super::settings::Settings;
use super::signals::Signals;
use super::sources::{self, Sources, origin_of_setting};
use super::unknown_variables;

pub(super) const EXAMPLES: &str = "Examples:
  threadcast                                          serve on 127.0.0.1:8080
  threadcast --host 0.0.0.0 --keys-file keys.toml     for others, who need a key
  PUBSUB_PORT=0 threadcast                            on any free port, which is printed
  threadcast check-config                             what would it start with?

Exit codes: 0 stopped by a signal, 1 the port is in use or the system refused something, 2 the command line, a
variable or the keys file is wrong, 130 stopped by a second signal before the first was done with.";

/// A process that starts a server for itself puts its own id into this variable: the server then ends with that process. Not a
/// setting, because nobody else should need it.
pub(super) const PARENT: &str = "THREADCAST_PARENT";

/// How many arenas glibc's allocator may have. glibc reads it before the program runs.
const ARENAS: &str = "MALLOC_ARENA_MAX";
const FEW_ARENAS: &str = "2";

/// Serves until a signal. Signals are installed first: one that arrives during the start is not lost, and every thread
/// inherits the mask that keeps SIGHUP from it.
pub(super) fn run(settings: Settings, matches: &ArgMatches) -> Result<(), CliError> {
    bound_arenas();
    if let Some(parent) = env::var(PARENT).ok().and_then(|pid| pid.parse().ok()) {
        stop_with_parent().map_err(CliError::failed)?;
        if getppid() != Pid::from_raw(parent) {
            // The parent ended before its end could be watched.
            return Ok(());
        }
    }
    let signals = Signals::install()?;
    let log = Log::start(settings.logs.log_level, settings.logs.log_format);
    let outcome = serve(settings.config, matches, &signals, &log);
    log.finish();
    outcome
}

/// The kernel sends SIGTERM when the parent ends.
#[cfg(target_os = "linux")]
fn stop_with_parent() -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
}

/// Other systems have no such signal: a server whose parent is killed goes on until somebody stops it.
#[cfg(not(target_os = "linux"))]
fn stop_with_parent() -> nix::Result<()> {
    Ok(())
}

/// glibc reserves 64 MiB of address space for each of up to eight arenas per processor. Where address space is limited, the
/// arenas would leave none for the stacks of connections: the process executes the program again with few arenas.
fn bound_arenas() {
    let is_limited = getrlimit(Resource::RLIMIT_AS).is_ok_and(|(soft, _)| soft != RLIM_INFINITY);
    if !is_limited || env::var_os(ARENAS).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        // Returns only if it fails; then the server has less address space for connections.
        let _failed = Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(ARENAS, FEW_ARENAS)
            .exec();
    }
}

fn serve(
    config: Config,
    matches: &ArgMatches,
    signals: &Signals,
    log: &Log,
) -> Result<(), CliError> {
    let settings = sources::settings(matches, &config);
    let sources = Sources::of(matches, &settings);
    let scheme = match config.tls_cert {
        Some(_) => "https",
        None => "http",
    };
    let asks_for_keys = config.api_key.is_some()
        || config.keys_file.is_some()
        || config.jwt_secret.is_some()
        || config.jwt_keys.is_some();
    let server = Server::bind_with_settings(config, settings)
        .map_err(|error| not_started(&error, matches))?;
    for text in unknown_variables::in_environment() {
        warn!("{text}");
    }
    log_limits(&sources, server.connection_cap());
    announce(scheme, server.local_addr(), asks_for_keys);
    // The server logs the results itself.
    signals.wait(|| drop((server.reload_keys(), server.reload_certificate())));
    info!("shutting down");
    stop(server, log);
    Ok(())
}

/// A wrong host or a wrong file of keys is found only when the server starts: names the setting as the user gave it.
pub(super) fn not_started(error: &StartError, matches: &ArgMatches) -> CliError {
    match error {
        StartError::Host { host, source } => {
            let allowed = format!("an address of this machine, or a name of one ({source})");
            CliError::usage(wrong_value(
                &origin_of_setting(matches, "host"),
                host,
                allowed,
            ))
        }
        StartError::Keys(invalid) => CliError::usage(wrong_value(
            &origin_of_setting(matches, "keys_file"),
            &invalid.file.to_string_lossy(),
            &invalid.reason,
        )),
        StartError::Certificate(invalid) => CliError::usage(wrong_value(
            &origin_of_setting(matches, invalid.setting),
            &invalid.file.to_string_lossy(),
            &invalid.reason,
        )),
        StartError::JwtKeys(invalid) => CliError::usage(wrong_value(
            &origin_of_setting(matches, "jwt_keys"),
            &invalid.file.to_string_lossy(),
            &invalid.reason,
        )),
        StartError::Config(InvalidConfig {
            setting,
            value,
            allowed,
        }) => {
            let found = SETTINGS.iter().find(|known| known.field == *setting);
            let id = found.map_or_else(|| (*setting).to_owned(), SettingDefinition::id);
            CliError::usage(wrong_value(
                &origin_of_setting(matches, &id),
                value,
                allowed,
            ))
        }
        other => CliError::failed(other),
    }
}

fn log_limits(sources: &Sources, cap: ConnectionCap) {
    let Sources {
        flags,
        environment,
        defaults,
    } = sources;
    info!(flags, environment, defaults, "settings");
    let ConnectionCap {
        connections,
        bound_by,
    } = cap;
    info!(max_connections = connections, bound_by, "connection cap");
}

/// Prints the address: in the log for people, on standard output for scripts. Standard output may be closed.
fn announce(scheme: &str, addr: SocketAddr, asks_for_keys: bool) {
    if !asks_for_keys && !addr.ip().to_canonical().is_loopback() {
        warn!("listening beyond loopback without a key: whoever reaches {addr} may do everything");
    }
    info!("listening on {scheme}://{addr}");
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "listening on {scheme}://{addr}").and_then(|()| out.flush());
}

/// Stops the server. The last line of the log has the figures of the shutdown.
fn stop(server: Server, log: &Log) {
    let report = server.shutdown();
    let lost_lines = log.lost_lines();
    if lost_lines > 0 {
        warn!(lost_lines, "the log was not read fast enough");
    }
    info!(
        connections_closed = report.connections_closed,
        events_flushed = report.events_flushed,
        events_undelivered = report.events_undelivered,
        "stopped"
    );
}
