//! The binary `backdate`: see `backdate --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backdate::cli::main()
}
