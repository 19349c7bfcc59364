//! What a device does of this project's own kernels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// How fast a device runs this project's shaders, which differ from a vendor's library in how they deal out work and how
/// often they read: what a roofline needs beside peak rates (as the levels of Yang et al. 2020, "Hierarchical Roofline
/// Analysis"). Measured by `shardlab calibrate`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShaderRates {
    /// Workgroups that run at once as fast as one alone.
    pub at_once: u32,
    /// Time that a workgroup takes to start and end where nothing else runs beside it, for example `"200 ns"`.
    #[serde(deserialize_with = "Nanos::deserialize_text", serialize_with = "Nanos::serialize_text")]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub workgroup: Nanos,
    /// Words of four bytes that all workgroups read or write per second, be they cached or not.
    pub words_per_second: f64,
    /// The same of numbers in 16 bits, which are widened when they are read and rounded when they are written.
    pub halves_per_second: f64,
    /// Time of every call of an op behind its first, which wait for each other but are not timed one by one, for example
    /// `"2 us"`; as long as the first, where it is left out.
    #[serde(default, deserialize_with = "Nanos::deserialize_text", serialize_with = "Nanos::serialize_text")]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub chained: Nanos,
    /// Whether workgroups share rows and columns, which devices do that run many at once.
    #[serde(default)]
    pub shared: bool,
    /// Length of the contraction at which half of a matrix product's time goes into its beginning and end.
    pub depth: f64,
}
