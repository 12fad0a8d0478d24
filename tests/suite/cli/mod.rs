//! The program as a script uses it: flags, variables, exit codes, signals, output.

mod access;
mod bench;
mod check_config;
mod describe;
mod documents;
mod healthcheck;
mod liar;
mod lifecycle;
mod logs;
mod nodes;
mod program;
mod pty;
mod publish;
mod settings;
mod several_servers;
mod subscribe;
mod system_limits;
mod tokens;
mod top;
mod topics;
