//! The `mtls` command. What it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mtls::run(std::env::args_os())
}
