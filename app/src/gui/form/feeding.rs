//! Fields of where samples lie, and of what makes batches of them.

use egui::Ui;
use shardlab_engine::scenario::{Input, LoaderFile, PreprocessingFile, StorageFile};

use super::Form;
use super::fields::{flag_ui, optional_real_ui, optional_ui, quantity_ui};

/// Servers that are there at first, once somebody says that there are some.
const SOME_SERVERS: u32 = 16;
const SOME_METADATA_SERVERS: u32 = 2;
const SOME_NODES: u32 = 2;

/// A tick that says whether there is something at all; what there is at first where it is set.
fn presence_ui(ui: &mut Ui, key: &'static str, value: &mut Option<u32>, first: u32) {
    let mut there = value.is_some();
    flag_ui(ui, key, &mut there);
    *value = there.then(|| value.unwrap_or(first));
}

impl Form<'_> {
    /// Where samples lie.
    pub(super) fn storage_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors =
            ["bandwidth", "node_bandwidth", "latency"].map(|field| self.error_of(&format!("data.storage.{field}")));
        let [all, node, latency] = errors.each_ref().map(Option::as_deref);
        let mut file = self.session.file.data.storage.clone().unwrap_or_default();
        let (now, typed) = (input.storage, &mut self.state.typed);
        quantity_ui(ui, "form.data.storage", &mut file.bandwidth, typed, now.bandwidth, all);
        quantity_ui(ui, "form.data.node_storage", &mut file.node_bandwidth, typed, now.node_bandwidth, node);
        quantity_ui(ui, "form.data.latency", &mut file.latency, typed, now.latency, latency);
        self.keep_storage(file);
    }

    fn keep_storage(&mut self, file: StorageFile) {
        if self.session.file.data.storage.as_ref().unwrap_or(&StorageFile::default()) != &file {
            self.session.file.data.storage = Some(file);
        }
    }

    /// The servers behind it, where they are told apart.
    pub(super) fn servers_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors = ["servers", "server_bandwidth", "stripe_count", "stripe_size", "replicas", "metadata_servers"]
            .map(|field| self.error_of(&format!("data.storage.{field}")));
        let [servers, rate, stripes, stripe, replicas, metadata] = errors.each_ref().map(Option::as_deref);
        let opens = self.error_of("data.storage.metadata_rate");
        let mut file = self.session.file.data.storage.clone().unwrap_or_default();
        let typed = &mut self.state.typed;
        presence_ui(ui, "form.data.has_servers", &mut file.servers, SOME_SERVERS);
        if let (Some(count), Some(now)) = (file.servers, input.storage.servers) {
            optional_ui(ui, "form.data.servers", &mut file.servers, now.count, 1..=1 << 16, servers);
            quantity_ui(ui, "form.data.server_bandwidth", &mut file.server_bandwidth, typed, now.bandwidth, rate);
            let stripe_count = &mut file.stripe_count;
            optional_ui(ui, "form.data.stripe_count", stripe_count, now.stripe_count, 1..=count, stripes);
            quantity_ui(ui, "form.data.stripe_size", &mut file.stripe_size, typed, now.stripe_size, stripe);
            optional_ui(ui, "form.data.server_replicas", &mut file.replicas, now.replicas, 1..=count, replicas);
        } else if file.servers.is_none() {
            (file.server_bandwidth, file.stripe_count, file.stripe_size, file.replicas) = (None, None, None, None);
        }
        presence_ui(ui, "form.data.has_metadata", &mut file.metadata_servers, SOME_METADATA_SERVERS);
        if let Some(count) = file.metadata_servers {
            optional_ui(ui, "form.data.metadata_servers", &mut file.metadata_servers, count, 1..=1 << 16, metadata);
            let of_one = input.storage.opens.map_or(20_000.0, |opens| opens / f64::from(count.max(1)));
            let (value, range) = (&mut file.metadata_rate, (1.0..=1e9, 100.0));
            optional_real_ui(ui, "form.data.metadata_rate", value, of_one, range, opens.as_deref());
        } else {
            file.metadata_rate = None;
        }
        self.keep_storage(file);
    }

    /// What makes batches of samples.
    pub(super) fn loader_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors =
            ["workers", "prefetch", "decode", "decoded"].map(|field| self.error_of(&format!("data.loader.{field}")));
        let [workers, prefetch, decode, decoded] = errors.each_ref().map(Option::as_deref);
        let others = self.session.file.data.preprocessing.is_some();
        let mut file = self.session.file.data.loader.clone().unwrap_or_default();
        let (now, typed) = (input.loader, &mut self.state.typed);
        if !others {
            optional_ui(ui, "form.data.workers", &mut file.workers, now.workers, 1..=1024, workers);
        }
        optional_ui(ui, "form.data.prefetch", &mut file.prefetch, now.prefetch, 1..=1024, prefetch);
        quantity_ui(ui, "form.data.decode", &mut file.decode, typed, now.decode, decode);
        quantity_ui(ui, "form.data.decoded", &mut file.decoded, typed, now.decoded, decoded);
        flag_ui(ui, "form.data.pageable", &mut file.pageable);
        if self.session.file.data.loader.as_ref().unwrap_or(&LoaderFile::default()) != &file {
            self.session.file.data.loader = Some(file);
        }
    }

    /// Nodes beside the cluster that read and decode for it.
    pub(super) fn preprocessing_ui(&mut self, ui: &mut Ui, input: &Input) {
        let errors =
            ["nodes", "workers", "bandwidth"].map(|field| self.error_of(&format!("data.preprocessing.{field}")));
        let [nodes, workers, bandwidth] = errors.each_ref().map(Option::as_deref);
        let data = &mut self.session.file.data;
        let mut file = data.preprocessing.clone().unwrap_or_default();
        presence_ui(ui, "form.data.has_preprocessing", &mut file.nodes, SOME_NODES);
        if file.nodes.is_none() {
            data.preprocessing = None;
            return;
        }
        // They have workers of their own.
        data.loader.iter_mut().for_each(|loader| loader.workers = None);
        if let Some(now) = input.preprocessing {
            let typed = &mut self.state.typed;
            optional_ui(ui, "form.data.preprocessing_nodes", &mut file.nodes, now.nodes, 1..=1 << 16, nodes);
            optional_ui(ui, "form.data.preprocessing_workers", &mut file.workers, now.workers, 1..=1024, workers);
            let (key, value) = ("form.data.preprocessing_bandwidth", &mut file.bandwidth);
            quantity_ui(ui, key, value, typed, now.bandwidth, bandwidth);
        }
        if data.preprocessing.as_ref().unwrap_or(&PreprocessingFile::default()) != &file {
            self.session.file.data.preprocessing = Some(file);
        }
    }
}
