//! Runs the server from its settings until a signal: what is printed and logged at its start and end.

use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::ArgMatches;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{Pid, getppid};
use threadcast::{ConnectionCap, Server, StartError};
use tracing::{info, warn};

use super::failure::{Failure, wrong_value};
use super::logging::Log;
use super::settings::Settings;
use super::signals::Signals;
use super::sources::{self, Sources, origin_of_setting};

pub(super) const EXAMPLES: &str = "Examples:
  threadcast                                          serve on 127.0.0.1:8080
  threadcast --host 0.0.0.0 --keys-file keys.toml     for others, who need a key
  PUBSUB_PORT=0 threadcast                            on any free port, which is printed
  threadcast check-config                             what would it start with?

Exit codes: 0 stopped by a signal, 1 the port is in use or the system refused something, 2 the command line, a
variable or the keys file is wrong, 130 stopped by a second signal before the first was done with.";

/// The variable by which a process that starts a server for itself alone, its parent, has it stop when it ends itself. No
/// setting: nobody else should need it.
pub(super) const PARENT: &str = "THREADCAST_PARENT";

/// How many arenas glibc's allocator may have. Read by it before the program runs.
const ARENAS: &str = "MALLOC_ARENA_MAX";
const FEW_ARENAS: &str = "2";

/// Serves until a signal. The signals come first: one that arrives during the start is not lost, and
/// no thread is older than the mask that keeps hangups from it.
pub(super) fn run(settings: Settings, matches: &ArgMatches) -> Result<(), Failure> {
    bound_arenas();
    if let Some(parent) = env::var(PARENT).ok().and_then(|pid| pid.parse().ok()) {
        stop_with_parent().map_err(Failure::failed)?;
        if getppid() != Pid::from_raw(parent) {
            // It ended before it could be asked to tell.
            return Ok(());
        }
    }
    let signals = Signals::install()?;
    let log = Log::start(settings.logs.log_level, settings.logs.log_format);
    let outcome = serve(settings, matches, &signals, &log);
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

/// glibc reserves 64 MiB of address space for each of up to eight arenas per processor. Where that space is limited they
/// would leave none to the stacks of connections, so the program re-executes itself, as the same process, with few of them.
fn bound_arenas() {
    let is_limited = getrlimit(Resource::RLIMIT_AS).is_ok_and(|(soft, _)| soft != RLIM_INFINITY);
    if !is_limited || env::var_os(ARENAS).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        // Returns only if it fails: then it serves with less room.
        let _failed = Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(ARENAS, FEW_ARENAS)
            .exec();
    }
}

fn serve(
    settings: Settings,
    matches: &ArgMatches,
    signals: &Signals,
    log: &Log,
) -> Result<(), Failure> {
    let config = settings.config();
    let told = sources::settings(matches, &config);
    let asks_for_keys = config.api_key.is_some() || config.keys_file.is_some();
    let server =
        Server::bind_with_settings(config, told).map_err(|error| not_started(&error, matches))?;
    log_limits(&Sources::of(matches), server.connection_cap());
    announce(server.local_addr(), asks_for_keys);
    // The server logs what came of it.
    signals.wait(|| drop(server.reload_keys()));
    info!("shutting down");
    stop(server, log);
    Ok(())
}

/// The name of the host and the file of keys are the settings that show to be wrong only when they are used.
pub(super) fn not_started(error: &StartError, matches: &ArgMatches) -> Failure {
    match error {
        StartError::Host { host, source } => {
            let allowed = format!("an address of this machine, or a name of one ({source})");
            Failure::usage(wrong_value(
                &origin_of_setting(matches, "host"),
                host,
                allowed,
            ))
        }
        StartError::Keys(invalid) => Failure::usage(wrong_value(
            &origin_of_setting(matches, "keys_file"),
            &invalid.file.to_string_lossy(),
            &invalid.reason,
        )),
        StartError::Config(invalid) => Failure::usage(invalid),
        other => Failure::failed(other),
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

/// Tells the address, to people in the log, to scripts on standard output. Nobody has to read that.
fn announce(addr: SocketAddr, asks_for_keys: bool) {
    if !asks_for_keys && !addr.ip().to_canonical().is_loopback() {
        warn!("listening beyond loopback without a key: whoever reaches {addr} may do everything");
    }
    info!("listening on http://{addr}");
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "listening on http://{addr}").and_then(|()| out.flush());
}

/// The figures of the shutdown are the last line of the log.
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
