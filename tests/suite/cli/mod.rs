//! The program as a script meets it: flags, variables, exit codes, signals, output.

mod access;
mod documents;
mod healthcheck;
mod lifecycle;
mod program;
mod publish;
mod settings;
mod subscribe;
mod topics;
