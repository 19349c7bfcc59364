//! Fields of what is read, in which order, and what caches keep of it.

use egui::Ui;
use shardlab_engine::scenario::{
    AccessFile, AccessPattern, Admission, CacheFile, CacheMedium, CachePlacement, CachePolicy, Input, SampleFormat,
    SamplesFile, Sampling, WarmUp,
};

use super::Form;
use super::fields::{flag_ui, named_ui, optional_real_ui, optional_ui, quantity_ui};
use crate::gui::i18n::t;

/// Of every enumeration the values with their words.
macro_rules! words {
    ($name:ident) => {
        $name::ALL.iter().map(|&value| (value, value.name())).collect::<Vec<_>>()
    };
}

impl Form<'_> {
    /// Draws them; tables that are not there come with the first thing that is said in them.
    pub(super) fn input_ui(&mut self, ui: &mut Ui) {
        let described = self.session.file.data.samples.is_some();
        egui::CollapsingHeader::new(t("form.data")).id_salt(("data", described)).default_open(described).show(
            ui,
            |ui| {
                let Some(input) = self.session.run.scenario.data().input.filter(|_| described) else {
                    ui.weak(t("form.data.none"));
                    return;
                };
                self.stored_ui(ui, &input);
                self.access_ui(ui, &input);
                self.cache_ui(ui, &input);
                self.storage_ui(ui, &input);
                self.servers_ui(ui, &input);
                self.loader_ui(ui, &input);
                self.preprocessing_ui(ui, &input);
                if ui.button(t("form.data.remove")).on_hover_text(t("form.data.remove.tip")).clicked() {
                    let data = &mut self.session.file.data;
                    (data.samples, data.access, data.cache) = (None, None, None);
                    (data.storage, data.loader, data.preprocessing) = (None, None, None);
                }
            },
        );
    }

    fn stored_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors =
            ["count", "size", "size_spread", "per_shard"].map(|field| self.error_of(&format!("data.samples.{field}")));
        let [count, size, spread, per_shard] = errors.each_ref().map(Option::as_deref);
        let mut file = self.session.file.data.samples.clone().unwrap_or_default();
        let now = input.samples;
        optional_ui(ui, "form.data.count", &mut file.count, now.count, 1..=100_000_000, count);
        quantity_ui(ui, "form.data.size", &mut file.size, &mut self.state.typed, now.size, size);
        let (value, range) = (&mut file.size_spread, (0.0..=3.0, 0.01));
        optional_real_ui(ui, "form.data.size_spread", value, now.size_spread, range, spread);
        named_ui(ui, "form.data.format", &mut file.format, &words!(SampleFormat), None);
        if file.format == SampleFormat::Shards {
            let (value, most) = (&mut file.per_shard, now.count.max(1));
            optional_ui(ui, "form.data.per_shard", value, now.per_shard, 1..=most, per_shard);
        } else {
            file.per_shard = None;
        }
        if self.session.file.data.samples.as_ref().unwrap_or(&SamplesFile::default()) != &file {
            self.session.file.data.samples = Some(file);
        }
    }

    fn access_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors = ["epochs", "window", "jobs", "stagger", "skew", "requests"]
            .map(|field| self.error_of(&format!("data.access.{field}")));
        let [epochs, window, jobs, stagger, skew, requests] = errors.each_ref().map(Option::as_deref);
        let mut file = self.session.file.data.access.clone().unwrap_or_default();
        let now = input.access;
        named_ui(ui, "form.data.pattern", &mut file.pattern, &words!(AccessPattern), None);
        if file.pattern == AccessPattern::Zipf {
            let (value, range) = (&mut file.skew, (0.0..=4.0, 0.01));
            optional_real_ui(ui, "form.data.skew", value, now.skew, range, skew);
            optional_ui(ui, "form.data.requests", &mut file.requests, now.requests, 1..=100_000_000, requests);
        } else {
            optional_ui(ui, "form.data.epochs", &mut file.epochs, now.epochs, 1..=1000, epochs);
            let shards = input.samples.format == SampleFormat::Shards;
            let all = now.window.unwrap_or(if shards { input.samples.per_shard } else { input.samples.count });
            optional_ui(ui, "form.data.window", &mut file.window, all, 1..=100_000_000, window);
        }
        match file.pattern {
            AccessPattern::Epochs => named_ui(ui, "form.data.sampling", &mut file.sampling, &words!(Sampling), None),
            AccessPattern::Jobs | AccessPattern::Search => {
                optional_ui(ui, "form.data.jobs", &mut file.jobs, now.jobs, 1..=1024, jobs);
                flag_ui(ui, "form.data.coordinated", &mut file.coordinated);
                if file.pattern == AccessPattern::Jobs {
                    let (value, range) = (&mut file.stagger, (0.0..=1.0, 0.01));
                    optional_real_ui(ui, "form.data.stagger", value, now.stagger, range, stagger);
                }
            }
            AccessPattern::Zipf => {}
        }
        if self.session.file.data.access.as_ref().unwrap_or(&AccessFile::default()) != &file {
            self.session.file.data.access = Some(file);
        }
    }

    fn cache_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors = ["policy", "capacity", "read_ahead", "replicas", "lost_after", "drives"]
            .map(|field| self.error_of(&format!("data.cache.{field}")));
        let [policy, capacity, ahead, replicas, lost, drives] = errors.each_ref().map(Option::as_deref);
        let nodes = input.reading_nodes(self.session.run.scenario.cluster().nodes);
        let mut file = self.session.file.data.cache.clone().unwrap_or_default();
        let now = input.cache;
        named_ui(ui, "form.data.policy", &mut file.policy, &words!(CachePolicy), policy);
        let typed = &mut self.state.typed;
        quantity_ui(ui, "form.data.capacity", &mut file.capacity, typed, now.capacity, capacity);
        named_ui(ui, "form.data.medium", &mut file.medium, &words!(CacheMedium), None);
        if file.medium == CacheMedium::Memory || file.drives.is_some() {
            let now = now.drives.unwrap_or_default();
            quantity_ui(ui, "form.data.drives", &mut file.drives, typed, now, drives);
        }
        named_ui(ui, "form.data.warm_up", &mut file.warm_up, &words!(WarmUp), None);
        named_ui(ui, "form.data.admission", &mut file.admission, &words!(Admission), None);
        optional_ui(ui, "form.data.read_ahead", &mut file.read_ahead, now.read_ahead, 0..=1024, ahead);
        if nodes > 1 {
            named_ui(ui, "form.data.placement", &mut file.placement, &words!(CachePlacement), None);
            if file.placement != CachePlacement::Node {
                optional_ui(ui, "form.data.replicas", &mut file.replicas, now.replicas, 1..=nodes, replicas);
            }
        }
        let (value, range) = (&mut file.lost_after, (0.0..=1.0, 0.01));
        optional_real_ui(ui, "form.data.lost_after", value, now.lost_after.unwrap_or(1.0), range, lost);
        if self.session.file.data.cache.as_ref().unwrap_or(&CacheFile::default()) != &file {
            self.session.file.data.cache = Some(file);
        }
    }
}
