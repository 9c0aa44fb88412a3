//! The binary `backdate`: see `backdate --help`.

use std::process::ExitCode;

/// A tenth of a run goes into small allocations; this allocator halves that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    backdate::cli::main()
}
