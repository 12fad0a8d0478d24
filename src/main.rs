//! The `threadcast` program: parse, run, exit code. Everything it does lives in [`cli`].

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
