//! Samples on disk, and a loader that reads them for a run: threads that read, decode and put batches together ahead of the
//! step, as the simulated loader of `sim::input` does.
//!
//! * `samples` is a folder with a file for every sample,
//! * `loader` reads it.

mod loader;
mod samples;

pub use loader::{Asked, DiskLoader, Loaded, LoaderOptions};
pub use samples::DiskSamples;
