//! # Shardlab's engine
//!
//! A training step on a cluster is lowered once to a dataflow graph, and the same graph is simulated and executed.
//!
//! ```text
//! Scenario ──lower──► StepGraph ──► sim::simulate ──► Trace ──► analysis, report
//!                            └────► exec::Trainer ──► Trace ──┘
//! ```
//!
//! ## The model behind the types
//!
//! * A **scenario** is what the user says: model, cluster, strategy, data, run. [`scenario::ScenarioFile`] is what
//!   was written, [`scenario::Scenario`] what was checked.
//! * The **mesh** arranges the ranks on the axes pp × dp × tp. A **placement** says how the ranks of an axis hold a
//!   tensor: replicated, sharded, or as terms of a sum. Where an op asks for another placement than its input has,
//!   a collective converts it.
//! * An **op** is a kernel call, a collective, a send or a receive. It runs on a **stream** of its rank: an in-order
//!   queue. An op starts when its stream is free and what it reads is there.
//! * A **step graph** holds one program per pipeline stage: **segments** (DAGs of ops: begin, forward, backward,
//!   update) and **tasks** (which segment for which micro-batch, in order). Every rank of a stage runs the same
//!   program, so the graph does not grow with the cluster.
//! * A **trace** is spans on the streams of ranks. It says whether it was modelled, executed or imported.
//!
//! ## What is not modelled yet
//!
//! What failures do to a single step. Learning-rate schedules are not executed.

pub mod analysis;
pub mod cluster;
pub mod compare;
pub mod cost;
pub mod exec;
pub mod graph;
pub mod memory;
pub mod model;
pub mod report;
pub mod scenario;
pub mod search;
pub mod sim;
pub mod trace;
pub mod units;
pub mod unpack;
pub mod validate;
