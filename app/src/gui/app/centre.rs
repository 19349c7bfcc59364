//! The centre: tabs that can be dragged apart.

use egui::{Rect, Ui};

use super::Tab;
use crate::gui::bench::BenchView;
use crate::gui::compare::CompareView;
use crate::gui::data::DataView;
use crate::gui::execute::ExecuteView;
use crate::gui::graph_view::GraphView;
use crate::gui::i18n::t;
use crate::gui::inspector::Selection;
use crate::gui::logs::LogsView;
use crate::gui::memory::MemoryView;
use crate::gui::network::NetworkView;
use crate::gui::roofline::RooflineView;
use crate::gui::search::SearchView;
use crate::gui::session::Session;
use crate::gui::storage::StorageView;
use crate::gui::summary::SummaryView;
use crate::gui::timeline::TimelineView;
use crate::gui::toast::Toasts;
use crate::gui::traces::TracesView;

/// The state of every view.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub summary: SummaryView,
    pub network: NetworkView,
    pub timeline: TimelineView,
    pub graph: GraphView,
    pub roofline: RooflineView,
    pub compare: CompareView,
    pub execute: ExecuteView,
    pub search: SearchView,
    pub bench: BenchView,
    pub data: DataView,
    pub storage: StorageView,
    pub memory: MemoryView,
    pub traces: TracesView,
    pub logs: LogsView,
}

/// What the tabs draw.
pub(super) struct Centre<'a> {
    pub session: &'a mut Session,
    pub views: &'a mut Views,
    pub toasts: &'a mut Toasts,
    pub selection: &'a mut Selection,
    /// Where each view is drawn.
    pub drawn: Vec<(Tab, Rect)>,
}

impl egui_tiles::Behavior<Tab> for Centre<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _: egui_tiles::TileId, tab: &mut Tab) -> egui_tiles::UiResponse {
        self.drawn.push((*tab, ui.max_rect()));
        egui::Frame::new().inner_margin(6).show(ui, |ui| match tab {
            Tab::Timeline => {
                let run = self.session.shown().clone();
                let drawn = if self.views.timeline.wants_path() { run.drawn_with_path() } else { run.drawn() };
                self.views.timeline.ui(ui, drawn, self.selection);
            }
            Tab::Summary => self.views.summary.ui(ui, self.session),
            Tab::Network => self.views.network.ui(ui, self.session),
            Tab::Memory => self.views.memory.ui(ui, self.session),
            Tab::Traces => self.views.traces.ui(ui, self.session),
            Tab::Logs => self.views.logs.ui(ui, self.session, self.toasts),
            Tab::Graph => self.views.graph.ui(ui, &self.session.shown().clone(), self.selection),
            Tab::Roofline => self.views.roofline.ui(ui, self.session, self.views.bench.report()),
            Tab::Compare => self.views.compare.ui(ui, self.session),
            Tab::Execute => self.views.execute.ui(ui, self.session),
            Tab::Search => self.views.search.ui(ui, self.session),
            Tab::Data => self.views.data.ui(ui, self.session),
            Tab::Storage => self.views.storage.ui(ui, self.session),
            Tab::Bench => self.views.bench.ui(ui, self.session),
        });
        egui_tiles::UiResponse::None
    }

    fn tab_title_for_pane(&mut self, tab: &Tab) -> egui::WidgetText {
        t(tab.key()).into()
    }

    /// Little, so that all tabs have room in a window of usual size.
    fn tab_title_spacing(&self, _: &egui::Visuals) -> f32 {
        5.0
    }

    fn simplification_options(&self) -> egui_tiles::SimplificationOptions {
        egui_tiles::SimplificationOptions { all_panes_must_have_tabs: true, ..Default::default() }
    }
}

/// All views as tabs, the timeline in front.
pub(super) fn first_tiles() -> egui_tiles::Tree<Tab> {
    let mut tiles = egui_tiles::Tree::new_tabs(egui::Id::unique("centre"), Tab::ALL.to_vec());
    tiles.make_active(|_, tile| matches!(tile, egui_tiles::Tile::Pane(Tab::Timeline)));
    tiles
}
