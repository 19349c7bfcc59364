//! The views, in their order.

use egui::Key;

/// A view in the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tab {
    /// The step at a glance.
    Summary,
    /// Spans over time.
    Timeline,
    /// Memory over time.
    Memory,
    /// What is sent where.
    Network,
    /// The step graph.
    Graph,
    /// Kernels under the roofs of the device.
    Roofline,
    /// Baseline beside current, prediction beside execution.
    Compare,
    /// Training on this device.
    Execute,
    /// The search for a better strategy.
    Search,
    /// What is read, and what caches find of it.
    Data,
    /// A long run with its checkpoints and failures.
    Storage,
    /// What this device can do.
    Bench,
    /// What other tools have measured.
    Traces,
    /// Logs of training runs, and of this app.
    Logs,
}

impl Tab {
    /// All views in order.
    pub const ALL: [Self; 14] = [
        Self::Summary,
        Self::Timeline,
        Self::Memory,
        Self::Network,
        Self::Graph,
        Self::Roofline,
        Self::Compare,
        Self::Execute,
        Self::Search,
        Self::Data,
        Self::Storage,
        Self::Bench,
        Self::Traces,
        Self::Logs,
    ];

    /// The key of its name.
    pub fn key(self) -> &'static str {
        match self {
            Self::Summary => "tab.summary",
            Self::Timeline => "tab.timeline",
            Self::Memory => "tab.memory",
            Self::Network => "tab.network",
            Self::Graph => "tab.graph",
            Self::Roofline => "tab.roofline",
            Self::Compare => "tab.compare",
            Self::Execute => "tab.execute",
            Self::Search => "tab.search",
            Self::Data => "tab.data",
            Self::Storage => "tab.storage",
            Self::Bench => "tab.bench",
            Self::Traces => "tab.traces",
            Self::Logs => "tab.logs",
        }
    }

    /// Its name in links.
    pub fn name(self) -> &'static str {
        self.key().split_once('.').map_or("timeline", |(_, name)| name)
    }

    /// The key that shows it.
    pub fn digit(self) -> Key {
        match self {
            Self::Summary => Key::O,
            Self::Network => Key::N,
            Self::Roofline => Key::I,
            Self::Timeline => Key::Num1,
            Self::Memory => Key::Num2,
            Self::Graph => Key::Num3,
            Self::Compare => Key::Num4,
            Self::Execute => Key::Num5,
            Self::Search => Key::Num6,
            Self::Data => Key::Num7,
            Self::Storage => Key::Num8,
            Self::Bench => Key::Num9,
            Self::Traces => Key::T,
            Self::Logs => Key::L,
        }
    }
}
