//! Memory: over time, by address, and on every allocator.
//!
//! * `curve` stacks what is in use over time by category,
//! * `map` draws addresses over time,
//! * `fit` says which allocators keep within the device, what breaks first, and what would make it fit.

mod curve;
mod fit;
mod map;

use std::sync::Arc;

use egui::Ui;
use shardlab_engine::analysis::{AllocatorRow, MemoryPicture};
use shardlab_engine::report;
use shardlab_engine::scenario::AllocatorName;
use shardlab_engine::search::{Treatment, Ways};
use shardlab_engine::trace::Origin;

use super::i18n::{t, t_or_name, t_with};
use super::job::{Job, MemoryNews, Message};
use super::session::{Run, Session};
use super::widgets::origin_ui;
use map::MapView;

/// What of memory is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryPage {
    /// In use over time.
    #[default]
    Curve,
    /// Addresses over time.
    Map,
    /// Allocators and what would fit.
    Fit,
}

/// A snapshot that was opened.
#[derive(Debug)]
struct Snapshot {
    name: String,
    picture: Arc<MemoryPicture>,
    replayed: Vec<AllocatorRow>,
}

/// What is known of a run's device memory.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<AllocatorRow>,
    treatments: Vec<Treatment>,
    ways: Option<Ways>,
    /// Whether all was looked for.
    is_complete: bool,
}

/// The state of the view.
#[derive(Debug, Default)]
pub struct MemoryView {
    page: MemoryPage,
    /// The stage that is shown; the fullest unless it was chosen.
    stage: Option<u32>,
    job: Option<Job>,
    /// The run that all of this is of.
    of: Option<Arc<Run>>,
    found: Found,
    map: MapView,
    snapshot: Option<Snapshot>,
    show_snapshot: bool,
    /// Whether the job reads a file.
    opening: bool,
}

impl MemoryView {
    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        serde_json::json!({
            "running": self.is_running(),
            "rows": self.found.rows.len(),
            "fitting": self.found.ways.as_ref().map(|ways| ways.fitting.len()),
            "treatments": self.found.treatments.len(),
            "blocks": self.map.blocks(),
            "snapshot": self.snapshot.as_ref().filter(|_| self.show_snapshot).map(|snapshot| &snapshot.name),
        })
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Memory(news) => self.take(*news),
                Message::Failed(error) => {
                    self.opening = false;
                    errors.push(error);
                }
                _ => {}
            }
        }
        errors
    }

    fn take(&mut self, news: MemoryNews) {
        match news {
            MemoryNews::Map(picture, room) => self.map.show(Arc::new(picture), Some(room)),
            MemoryNews::Row(row) => self.found.rows.push(row),
            MemoryNews::Treatment(treatment) => self.found.treatments.push(treatment),
            MemoryNews::Ways(ways) => self.found.ways = Some(ways),
            MemoryNews::Complete => self.found.is_complete = true,
            MemoryNews::Snapshot(name, picture, replayed) => {
                let picture = Arc::new(picture);
                self.map.show(Arc::clone(&picture), None);
                self.opening = false;
                self.snapshot = Some(Snapshot { name, picture, replayed });
                (self.show_snapshot, self.page) = (true, MemoryPage::Map);
            }
        }
    }

    /// Shows a page.
    pub fn show(&mut self, page: MemoryPage) {
        self.page = page;
    }

    /// Opens what PyTorch has written.
    pub fn open_snapshot(&mut self, context: &egui::Context, name: &str, bytes: Vec<u8>) {
        self.job = Some(Job::snapshot(context, name.to_owned(), bytes));
        (self.of, self.opening) = (None, true);
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        self.follow(ui, session);
        ui.horizontal_wrapped(|ui| {
            for (page, key) in
                [(MemoryPage::Curve, "memory.curve"), (MemoryPage::Map, "memory.map"), (MemoryPage::Fit, "memory.fit")]
            {
                ui.selectable_value(&mut self.page, page, t(key)).on_hover_text(t(tip_of(page)));
            }
            ui.separator();
            self.source_ui(ui, session);
        });
        match self.page {
            MemoryPage::Curve => curve::ui(ui, session.shown()),
            MemoryPage::Map => self.map_ui(ui, session),
            MemoryPage::Fit => self.fit_ui(ui, session),
        }
    }

    /// Which stage, by which allocator; or which file.
    fn source_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        if self.page == MemoryPage::Curve {
            return;
        }
        if let Some(snapshot) = &self.snapshot {
            let before = self.show_snapshot;
            ui.selectable_value(&mut self.show_snapshot, false, t("memory.scenario"));
            ui.selectable_value(&mut self.show_snapshot, true, &snapshot.name);
            if before != self.show_snapshot {
                (self.of, self.job) = (None, None);
                if self.show_snapshot {
                    self.map.show(Arc::clone(&snapshot.picture), None);
                }
            }
        }
        if self.show_snapshot {
            origin_ui(ui, Origin::Imported);
            return;
        }
        origin_ui(ui, Origin::Modelled);
        let run = Arc::clone(&session.run);
        let stages = u32::try_from(run.step.stages.len()).unwrap_or(1);
        if stages > 1 {
            let mut stage = self.stage.unwrap_or(run.report.fit.stage).min(stages - 1);
            let shown = format!("{} {stage}", t("timeline.stage"));
            egui::ComboBox::from_id_salt("memory stage").selected_text(shown).show_ui(ui, |ui| {
                for other in 0..stages {
                    let peak = run.step.stages[other as usize].memory.at_peak.total();
                    ui.selectable_value(&mut stage, other, format!("{} {other}  {peak}", t("timeline.stage")));
                }
            });
            if stage != self.stage.unwrap_or(run.report.fit.stage) {
                (self.stage, self.of) = (Some(stage), None);
            }
        }
        let chosen = &mut session.file.run.allocator;
        let combo = egui::ComboBox::from_id_salt("allocator").selected_text(t_or_name("allocator", chosen.name()));
        let response = combo.show_ui(ui, |ui| {
            for allocator in AllocatorName::ALL {
                let text = t_or_name("allocator", allocator.name());
                ui.selectable_value(chosen, allocator, text)
                    .on_hover_text(t_or_name("allocator_tip", allocator.name()));
            }
        });
        response.response.on_hover_text(t("memory.allocator.tip"));
        if self.is_running() {
            ui.spinner();
        }
    }

    /// Starts to look at a run that is new, once somebody looks at more than its curve.
    fn follow(&mut self, ui: &Ui, session: &Session) {
        let known = self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &session.run));
        let opening = self.opening && self.is_running();
        if known || self.show_snapshot || self.page == MemoryPage::Curve || opening {
            return;
        }
        let stages = u32::try_from(session.run.step.stages.len()).unwrap_or(1);
        self.stage = self.stage.filter(|&stage| stage < stages);
        self.found = Found::default();
        self.map.clear();
        self.opening = false;
        self.of = Some(Arc::clone(&session.run));
        let stage = self.stage.unwrap_or(session.run.report.fit.stage);
        self.job = Some(Job::memory(ui.ctx(), Arc::clone(&session.run), stage));
    }

    fn map_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        if self.map.ui(ui) {
            let of_file = self.snapshot.as_ref().filter(|_| self.show_snapshot).map(|snapshot| snapshot.name.clone());
            let stem = of_file.unwrap_or_else(|| session.run.scenario.name().to_owned());
            if let Some(picture) = self.map.picture() {
                session.save(format!("{stem}.map.csv"), report::memory_map_csv(picture));
            }
        }
    }

    fn fit_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| match &self.snapshot {
            Some(snapshot) if self.show_snapshot => fit::snapshot_ui(ui, &snapshot.picture, &snapshot.replayed),
            _ => {
                if fit::ui(ui, session, &self.found, self.job.as_ref()) {
                    self.of = None;
                }
            }
        });
    }
}

fn tip_of(page: MemoryPage) -> &'static str {
    match page {
        MemoryPage::Curve => "memory.curve.tip",
        MemoryPage::Map => "memory.map.tip",
        MemoryPage::Fit => "memory.fit.tip",
    }
}

/// What there was no room for, in the language of the interface.
fn breaks_text(breaks: &shardlab_engine::analysis::Breaks) -> String {
    t_with("memory.breaks", report::breaks_text(breaks))
}
