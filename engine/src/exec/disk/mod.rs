//! Samples on disk, and a loader that reads them for a run: threads that read, decode and put batches together ahead of the
//! step, as the simulated loader of `sim::input` does.
//!
//! * `samples` is a folder: of `images`, of `texts`, or of samples that were `written` for a model,
//! * `loader` reads it.

mod images;
mod loader;
mod samples;
mod texts;
mod written;

pub use loader::{Asked, DiskLoader, Loaded, LoaderOptions};
pub use samples::DiskSamples;
