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
    /// Time of a call whose workgroups all run one after the other on one multiprocessor, which is less where others must be
    /// woken first, for example `"60 us"`; as long as any other, where it is left out.
    #[serde(default, deserialize_with = "Nanos::deserialize_text", serialize_with = "Nanos::serialize_text")]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub alone: Nanos,
    /// Whether workgroups share rows and columns, which devices do that run many at once.
    #[serde(default)]
    pub shared: bool,
    /// Rows and columns of a matrix product that a workgroup computes.
    #[serde(default = "ShaderRates::tile")]
    pub tile: [u32; 2],
    /// Rows and columns of it for which a number of a factor is read, and widened, once.
    #[serde(default = "ShaderRates::shares")]
    pub shares: [u32; 2],
    /// Length of the contraction at which half of a matrix product's time goes into its beginning and end.
    pub depth: f64,
    /// The same of products in 16 bits; as long as of others, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_depth: Option<f64>,
    /// Queries that a workgroup of attention has.
    #[serde(default = "ShaderRates::queries")]
    pub queries: u32,
    /// Rate of attention on numbers in 16 bits, as a share of that in fp32.
    #[serde(default = "alike")]
    pub half_attention: f64,
    /// Words that a norm reads or writes per second where its rows are of fours, which may be moved four at a time; as many
    /// as any other kernel, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_words_per_second: Option<f64>,
    /// Rate of the gradient of attention, as a share of that of attention itself.
    #[serde(default = "alike")]
    pub attention_gradient: f64,
    /// Rate of that gradient on numbers in 16 bits, as a share of that in fp32.
    #[serde(default = "alike")]
    pub half_attention_gradient: f64,
    /// Numbers in eight bits with a scale for each tensor; assumed from elementwise arithmetic where it is left out, as the
    /// next two are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp8: Option<ShortRates>,
    /// Numbers in eight bits with a scale for each block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fp8_block: Option<ShortRates>,
    /// Numbers in four bits with a scale for each block and one for each tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvfp4: Option<ShortRates>,
}

/// How fast all invocations together convert numbers of fewer than 16 bits, which is done in software.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShortRates {
    /// Numbers per second that are widened, beside what is done with them.
    pub decoded_per_second: f64,
    /// Numbers per second that are rounded and written with their scales, with reading what they are made of.
    pub encoded_per_second: f64,
}

fn alike() -> f64 {
    1.0
}

impl ShaderRates {
    /// Of the product that every device can compute.
    const TILE: [u32; 2] = [64, 32];
    const SHARES: [u32; 2] = [8, 4];

    /// Of the attention that every device can compute.
    const QUERIES: u32 = 512;

    /// Queries, or keys, that a workgroup of its gradient has at most: half as many.
    const QUERIES_OF_GRADIENT: u32 = 256;

    fn queries() -> u32 {
        Self::QUERIES
    }

    fn tile() -> [u32; 2] {
        Self::TILE
    }

    fn shares() -> [u32; 2] {
        Self::SHARES
    }

    /// Queries, or keys, that a workgroup of the gradient of attention has.
    pub fn queries_of_gradient(&self) -> u32 {
        self.queries.clamp(1, Self::QUERIES_OF_GRADIENT)
    }

    /// How many numbers of each factor are read for every multiplication of a matrix product.
    pub fn reads(&self) -> [f64; 2] {
        let [rows, columns] = self.shares.map(|side| 1.0 / f64::from(side.max(1)));
        [columns, rows]
    }

    /// Nothing is known.
    pub const UNMEASURED: Self = Self {
        at_once: 1,
        workgroup: Nanos::ZERO,
        words_per_second: 0.0,
        halves_per_second: 0.0,
        chained: Nanos::ZERO,
        alone: Nanos::ZERO,
        shared: false,
        tile: Self::TILE,
        shares: Self::SHARES,
        depth: 0.0,
        half_depth: None,
        queries: Self::QUERIES,
        half_attention: 1.0,
        norm_words_per_second: None,
        attention_gradient: 1.0,
        half_attention_gradient: 1.0,
        fp8: None,
        fp8_block: None,
        nvfp4: None,
    };
}
