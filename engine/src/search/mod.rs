//! The search for the best strategy in a space of many.
//!
//! ```text
//! space ──► checked ──► memory bound ──► time bound ──► simulated ──► best, Pareto front
//!           (invalid)    (too large)      (slower)
//! ```
//!
//! * `space` names the fields that vary and counts their combinations,
//! * `probe` lowers one short model for every way of cutting a layer and measures its parts,
//! * `bounds` adds parts up to what any schedule takes at least,
//! * `run` decides every strategy, from the most promising on,
//! * `advice` tries changes that make a step faster, `variants` compares scenarios and says which setting does what,
//! * `ways` tries changes of a scenario that does not fit, and ways of treating activations.
//!
//! Both bounds are admissible: they never exceed what the simulator says. So what they prune could not have been the
//! best, and the result is that of simulating everything (`tests/search.rs`).

mod advice;
mod bounds;
mod probe;
mod run;
mod space;
mod sweep;
mod variants;
mod ways;

pub use advice::{Advice, AdviceSearch, Effect};
pub use bounds::Bounds;
pub use run::{Counts, Found, Goal, Options, Outcome, Progress, Saved, bounds_of, search};
pub use space::{Axis, Space, SpaceError, default_space};
pub use sweep::{Against, MOST_POINTS, Sweep, SweepFigures, SweepOutcome, SweepPoint, importance, pareto};
pub use variants::{Attribution, AttributionSearch, Cause, Setting, attribution, differing_settings};
pub use ways::{Edit, Treatment, Way, WaySearch, Ways, changed, treatments, ways_to_fit};
