//! What comes in and is opened: files, links, what was pasted; and links that go out.

use shardlab_engine::scenario::{check, is_link, link, linked};

use super::{App, Tab};
use crate::gui::i18n::{t, t_with};
use crate::gui::open_file::{self, Arrival};
use crate::gui::recent::{RecentFile, remember};

impl App {
    /// Opens the files that have come in, and remembers them.
    pub(super) fn take_arrivals(&mut self, context: &egui::Context) {
        for Arrival { name, path, bytes } in self.opener.received() {
            match bytes {
                Ok(bytes) => {
                    let file = RecentFile::new(&name, path, &bytes);
                    let is_open = self.open(context, &name, bytes);
                    if let Some(file) = file.filter(|_| is_open) {
                        remember(&mut self.settings.recent, file);
                    }
                }
                Err(error) => self.toasts.error(format!("{name}: {error}")),
            }
        }
    }

    /// Opens the bytes of a file, or says what is wrong with them; the scenario on screen stays then, and the answer is no.
    /// Traces, snapshots and logs are opened in the background.
    pub fn open(&mut self, context: &egui::Context, name: &str, bytes: Vec<u8>) -> bool {
        if open_file::is_snapshot(name) {
            self.show_tab(Tab::Memory);
            self.views.memory.open_snapshot(context, name, bytes);
        } else if open_file::is_trace(name) {
            self.show_tab(Tab::Data);
            self.views.data.open_trace(context, name, bytes, &self.session);
        } else if open_file::is_bench(name, &bytes) {
            self.show_tab(Tab::Bench);
            return match self.views.bench.compare_with(name, &bytes) {
                Ok(()) => true,
                Err(error) => {
                    self.toasts.error(format!("{name}: {error}"));
                    false
                }
            };
        } else if open_file::is_profile(name, &bytes) {
            self.show_tab(Tab::Traces);
            self.views.traces.open(name, bytes);
        } else if open_file::is_log(name, &bytes) {
            self.show_tab(Tab::Logs);
            self.views.logs.open(context, name, bytes);
        } else {
            return self.open_scenario(name, &bytes);
        }
        true
    }

    fn open_scenario(&mut self, name: &str, bytes: &[u8]) -> bool {
        let opened = open_file::open(bytes, &self.session.file);
        match opened {
            Ok((file, left_out)) => {
                self.session.load(file, None);
                self.toasts.notice(t_with("open.done", name));
                if !left_out.is_empty() {
                    self.toasts.notice(t_with("open.left_out", left_out.join(", ")));
                }
                true
            }
            Err(error) => {
                self.toasts.error(format!("{name}: {error}"));
                false
            }
        }
    }

    /// Puts a link to the scenario and the view on the clipboard, and into the page's address.
    pub(super) fn share(&mut self, context: &egui::Context) {
        let view = self.active_tab().map_or("timeline", Tab::name);
        match link(&self.session.file, view) {
            Ok(text) => {
                let text = address(&text);
                context.copy_text(text.clone());
                self.shared = Some(text);
                self.toasts.notice(t("share.done").to_owned());
            }
            Err(error) => self.toasts.error(error.to_string()),
        }
    }

    /// Opens the scenario in a link, and the view that it names; what is open stays where it is none.
    pub fn open_link(&mut self, text: &str) {
        let found = match linked(text) {
            Ok(found) => found,
            Err(error) => return self.toasts.error(error.to_string()),
        };
        if let Err(error) = check(&found.file) {
            return self.toasts.error(error.to_string());
        }
        self.session.load(found.file, None);
        if let Some(tab) = found.view.and_then(|view| Tab::ALL.into_iter().find(|tab| tab.name() == view)) {
            self.show_tab(tab);
        }
        if found.left_out.is_empty() {
            self.toasts.notice(t("share.opened").to_owned());
        } else {
            self.toasts.notice(t_with("share.left_out", found.left_out.join(", ")));
        }
    }

    /// A link or a scenario that was pasted where nobody types.
    pub(super) fn paste(&mut self, context: &egui::Context) {
        if context.egui_wants_keyboard_input() {
            return;
        }
        let pasted = context.input(|input| {
            input.events.iter().find_map(|event| match event {
                egui::Event::Paste(text) => Some(text.clone()),
                _ => None,
            })
        });
        match pasted {
            Some(text) if is_link(&text) => self.open_link(&text),
            Some(text) => drop(self.open(context, t("share.clipboard"), text.into_bytes())),
            None => {}
        }
    }
}

/// A link as it is passed on: in a page behind its own address, else alone, for a page or the command line.
fn address(text: &str) -> String {
    #[cfg(target_arch = "wasm32")]
    if let Some(page) = crate::gui::web::set_fragment(text) {
        return page;
    }
    format!("#{text}")
}
