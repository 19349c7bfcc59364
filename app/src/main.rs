//! The command line: `shardlab simulate|execute|compare|calibrate|graph|presets|schema|gui`.
//!
//! stdout carries the result, stderr everything else. Exit codes: 0 done, 1 the answer is no (the step does not fit,
//! or prediction and memory disagree), 2 bad input or failure. A closed pipe is success.

#[cfg(not(target_arch = "wasm32"))]
mod cli;

/// A graph is a hundred thousand small tensors and names that come and go together; the C library's allocator takes a
/// third of the time in which a step is lowered and simulated.
#[cfg(not(target_arch = "wasm32"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    cli::main()
}

/// The browser enters through the library.
#[cfg(target_arch = "wasm32")]
fn main() {}
