//! Traces and figures as files: JSON for machines, tables for people, CSV, and the Perfetto / Chrome trace format.
//!
//! Pure functions from values to text: the same serve the command line and the app's export menu.

mod bench;
mod cache;
#[cfg(not(target_arch = "wasm32"))]
mod checkpoint;
mod csv;
mod device_memory;
mod explain;
mod goodput;
mod html;
pub mod import;
mod imported;
mod json;
#[cfg(not(target_arch = "wasm32"))]
mod loading;
mod memory_snapshot;
mod network;
pub mod palette;
mod perfetto;
mod pickle;
mod pool;
mod roofline;
mod search;
mod snapshot;
mod stored;
pub mod svg;
mod sweep;
mod table;
mod training_log;
mod transfer;
mod variants;

pub use bench::{bench_csv, bench_json, bench_table};
pub use cache::{cache_csv, cache_intervals_csv, cache_json, cache_table};
#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::{checkpoint_csv, checkpoint_json, checkpoint_table};
pub use csv::{comparison_csv, loss_csv, memory_csv, op_comparison_csv, op_table_csv};
pub use device_memory::{
    MemoryFindings, allocators_csv, breaks_text, device_memory_json, device_memory_table, edits_text, memory_map_csv,
};
pub use explain::{explain_json, explain_table, what_if_json, what_if_table};
pub use goodput::{goodput_csv, goodput_json, goodput_table, long_seconds, long_time};
pub use html::{PageRun, html_report, variant_of};
pub use import::{TraceImportError, import_trace};
pub use imported::{
    beside_table, diff_csv, diff_table, imported_collectives_csv, imported_json, imported_table, kernel_breakdown_csv,
    overlap_csv, signed, temporal_breakdown_csv,
};
pub use json::{SCHEMA_VERSION, collectives_json, comparison_json, execution_json, report_json, validation_json};
#[cfg(not(target_arch = "wasm32"))]
pub use loading::{loading_json, loading_table};
pub use memory_snapshot::{SnapshotError, memory_snapshot};
pub use network::{network_json, network_table, traffic_csv};
pub use perfetto::perfetto_json;
pub use pickle::PickleError;
pub use pool::{pool_csv, pool_json, pool_line, pool_table};
pub use roofline::{roofline_csv, roofline_json, roofline_table};
pub use search::{search_json, search_table};
pub use snapshot::{at_peak, snapshot_json, snapshot_table};
pub use stored::{StoredError, StoredRun};
pub use sweep::{sweep_csv, sweep_json, sweep_table};
pub use table::{calibration_table, comparison_table, memory_table, op_class_table, op_comparison_table, report_table};
pub use training_log::{
    TrainingLogError, is_training_log, training_log, training_log_csv, training_log_json, training_log_table,
};
pub use transfer::{transfer_csv, transfer_json, transfer_table};
pub use variants::{
    Comparison, Variant, advice_csv, advice_json, advice_table, best_of, cause_text, change_text, compared_rows,
    signed_bytes, value_text, variants_csv, variants_json, variants_table,
};

#[cfg(test)]
mod tests;
