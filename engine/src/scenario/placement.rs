//! Where the ranks of an execution run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The place as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlacementName {
    /// All ranks are buffers of one device, in this process.
    #[default]
    Device,
    /// Workers of this process have a device of their own each, on the adapters in turn, and exchange messages over loopback
    /// TCP.
    Adapters,
    /// Processes have a device of their own each, on the adapters in turn, and exchange messages over loopback TCP.
    Processes,
}

impl PlacementName {
    /// All places.
    pub const ALL: [Self; 3] = [Self::Device, Self::Adapters, Self::Processes];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Adapters => "adapters",
            Self::Processes => "processes",
        }
    }
}

/// Where ranks run, and among how many workers they are dealt out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// What the workers are.
    pub kind: PlacementName,
    /// How many there are; one for each rank when left out.
    pub workers: Option<u32>,
}

impl Placement {
    /// How many workers have ranks.
    pub fn workers(&self, ranks: u32) -> u32 {
        match self.kind {
            PlacementName::Device => 1,
            _ => self.workers.unwrap_or(ranks).clamp(1, ranks.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Placement, PlacementName};

    #[test]
    fn there_are_no_more_workers_than_ranks() {
        let processes = |workers| Placement { kind: PlacementName::Processes, workers };
        assert_eq!(processes(None).workers(4), 4);
        assert_eq!(processes(Some(2)).workers(4), 2);
        assert_eq!(processes(Some(8)).workers(4), 4);
        assert_eq!(Placement { kind: PlacementName::Device, workers: Some(8) }.workers(4), 1);
    }
}
