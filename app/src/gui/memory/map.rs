//! The memory map: addresses over time. Every block is a value, where it lies as long as it lives.

use std::sync::Arc;

use egui::epaint::{Mesh, Shape};
use egui::{Align2, Color32, FontId, Key, Pos2, Rect, Response, Sense, Ui, pos2, vec2};
use shardlab_engine::analysis::{MapValue, MemoryPicture};
use shardlab_engine::memory::Block;
use shardlab_engine::trace::MemoryCategory;
use shardlab_engine::units::{Bytes, Nanos};

use crate::gui::design_tokens::{
    capacity_stroke, grid_stroke, held_shade, memory_color, name_color, on_slice, selection_stroke, signals,
};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::widgets::{even_step, swatch_ui};

/// Width of the addresses' numbers.
const NUMBERS: f32 = 68.0;
/// Height of the times' numbers.
const RULER: f32 = 18.0;
/// Names that are written into blocks, at most.
const NAMES: usize = 300;
/// A block this wide and high has room for its name.
const ROOM: egui::Vec2 = vec2(64.0, 12.0);

/// The part of the map that is visible: moments or nanoseconds, and addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Visible {
    x: [f64; 2],
    y: [f64; 2],
}

/// The state of the map.
#[derive(Debug, Default)]
pub struct MapView {
    picture: Option<Arc<MemoryPicture>>,
    /// Bytes that the device has for it.
    room: Option<Bytes>,
    visible: Option<Visible>,
    /// Whether the horizontal axis is numbers of ops instead of time.
    by_moment: bool,
    selected: Option<usize>,
}

/// From the map to the screen.
#[derive(Clone, Copy)]
struct Scale {
    rect: Rect,
    visible: Visible,
}

impl Scale {
    fn x(&self, at: f64) -> f32 {
        let [from, to] = self.visible.x;
        self.rect.left() + ((at - from) / (to - from)) as f32 * self.rect.width()
    }

    /// Low addresses lie below.
    fn y(&self, address: f64) -> f32 {
        let [from, to] = self.visible.y;
        self.rect.bottom() - ((address - from) / (to - from)) as f32 * self.rect.height()
    }

    fn at(&self, place: Pos2) -> (f64, f64) {
        let ([x0, x1], [y0, y1]) = (self.visible.x, self.visible.y);
        let x = x0 + f64::from((place.x - self.rect.left()) / self.rect.width()) * (x1 - x0);
        let y = y0 + f64::from((self.rect.bottom() - place.y) / self.rect.height()) * (y1 - y0);
        (x, y)
    }
}

impl MapView {
    /// Shows another map, all of it.
    pub fn show(&mut self, picture: Arc<MemoryPicture>, room: Option<Bytes>) {
        (self.visible, self.selected, self.room) = (None, None, room);
        self.picture = Some(picture);
    }

    /// Shows nothing until there is another.
    pub fn clear(&mut self) {
        self.picture = None;
    }

    /// The map that is shown.
    pub fn picture(&self) -> Option<&MemoryPicture> {
        self.picture.as_deref()
    }

    /// Its blocks.
    pub fn blocks(&self) -> usize {
        self.picture().map_or(0, |picture| picture.map.blocks.len())
    }

    /// Draws the map; true when it is to be saved.
    pub fn ui(&mut self, ui: &mut Ui) -> bool {
        let Some(picture) = self.picture.clone() else {
            ui.spinner();
            return false;
        };
        let save = self.choice_ui(ui, &picture);
        let size = (ui.available_size() - vec2(0.0, 22.0)).max(egui::Vec2::ZERO);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("memory.map")));
        let plot = Rect::from_min_max(rect.min + vec2(NUMBERS, 0.0), rect.max - vec2(0.0, RULER));
        // A pane may be made as small as nothing.
        if plot.width() < 1.0 || plot.height() < 1.0 {
            return save;
        }
        let all = self.all(&picture);
        let scale = Scale { rect: plot, visible: self.visible.unwrap_or(all) };
        self.navigate(ui, &response, scale, all);
        axes_ui(ui, scale, self.is_time(&picture));
        self.blocks_ui(ui, scale, &picture);
        let hovered = response.hover_pos().and_then(|at| self.block_at(&picture, scale, at));
        if response.clicked() {
            self.selected = hovered;
        }
        if let Some(block) = hovered {
            response.on_hover_ui_at_pointer(|ui| block_ui(ui, &picture, &picture.map.blocks[block]));
        }
        self.selected_ui(ui, &picture);
        save
    }

    fn is_time(&self, picture: &MemoryPicture) -> bool {
        !self.by_moment && !picture.starts.is_empty()
    }

    /// Where a moment lies on the horizontal axis.
    fn x_of(&self, picture: &MemoryPicture, moment: usize) -> f64 {
        if self.is_time(picture) {
            picture.starts.get(moment).or(picture.starts.last()).map_or(0.0, |at| at.0 as f64)
        } else {
            moment as f64
        }
    }

    fn all(&self, picture: &MemoryPicture) -> Visible {
        let end = picture.map.regions.iter().map(|region| region.address + region.bytes.0).max().unwrap_or(1);
        let top = end.max(self.room.map_or(0, |room| room.0)) as f64 * 1.02;
        // A map that ends with a request that had no room has nothing behind it.
        let last = picture.map.blocks.iter().map(|block| block.until).max().unwrap_or(picture.map.ops);
        let end = last.min(picture.map.ops).max(1);
        let beyond = if end < picture.map.ops { 1.25 } else { 1.0 };
        Visible { x: [0.0, (self.x_of(picture, end) * beyond).max(1.0)], y: [0.0, top] }
    }

    fn choice_ui(&mut self, ui: &mut Ui, picture: &MemoryPicture) -> bool {
        let mut save = false;
        ui.horizontal_wrapped(|ui| {
            if !picture.starts.is_empty() {
                let before = self.by_moment;
                ui.selectable_value(&mut self.by_moment, false, t("memory.by_time"));
                ui.selectable_value(&mut self.by_moment, true, t("memory.by_op")).on_hover_text(t("memory.by_op.tip"));
                if before != self.by_moment {
                    self.visible = None;
                }
            }
            if ui.button(t("memory.whole")).clicked() {
                self.visible = None;
            }
            save = ui.button(t("memory.save_map")).on_hover_text(t("memory.save_map.tip")).clicked();
            ui.separator();
            if picture.values.iter().any(|value| value.category.is_some()) {
                for category in MemoryCategory::ALL {
                    swatch_ui(ui, memory_color(category), t_or_name("memory", category.name()));
                }
            }
            ui.weak(t("memory.map.hint"));
        });
        save
    }

    /// W S zoom time, A D pan it; Ctrl+wheel and pinching zoom both at the pointer; dragging pans.
    fn navigate(&mut self, ui: &Ui, response: &Response, scale: Scale, all: Visible) {
        let typing = ui.ctx().egui_wants_keyboard_input();
        let key = |key: Key| !typing && ui.input(|input| input.key_down(key));
        let mut visible = scale.visible;
        let centre = response.hover_pos().map_or(scale.rect.center(), |at| at);
        let (x, y) = scale.at(centre);
        let zoom = |range: &mut [f64; 2], at: f64, factor: f64| *range = range.map(|end| at + (end - at) * factor);
        if key(Key::W) {
            zoom(&mut visible.x, x, 0.94);
        }
        if key(Key::S) {
            zoom(&mut visible.x, x, 1.0 / 0.94);
        }
        if response.hovered() {
            let factor = 1.0 / f64::from(ui.input(egui::InputState::zoom_delta));
            zoom(&mut visible.x, x, factor);
            zoom(&mut visible.y, y, factor);
        }
        let pan = f64::from(i8::from(key(Key::D)) - i8::from(key(Key::A))) * 0.03;
        let drag = response.drag_delta();
        let moved = [pan - f64::from(drag.x / scale.rect.width()), f64::from(drag.y / scale.rect.height())];
        for (range, by) in [&mut visible.x, &mut visible.y].into_iter().zip(moved) {
            let length = range[1] - range[0];
            *range = range.map(|end| end + by * length);
        }
        if response.double_clicked() {
            self.visible = None;
        } else if visible != scale.visible {
            let within = Visible { x: within(visible.x, all.x, 4.0), y: within(visible.y, all.y, 4096.0) };
            self.visible = (within != all).then_some(within);
        }
    }

    fn blocks_ui(&self, ui: &Ui, scale: Scale, picture: &MemoryPicture) {
        let painter = ui.painter().with_clip_rect(scale.rect);
        let rect = |address: u64, bytes: Bytes, from: usize, until: usize| {
            let x = scale.x(self.x_of(picture, from))..=scale.x(self.x_of(picture, until));
            let y = scale.y((address + bytes.0) as f64)..=scale.y(address as f64);
            Rect::from_x_y_ranges(x, y)
        };
        let mut mesh = Mesh::default();
        for region in &picture.map.regions {
            mesh.add_colored_rect(
                rect(region.address, region.bytes, region.from, region.until),
                held_shade(ui.visuals()),
            );
        }
        let mut named = Vec::new();
        for (index, block) in picture.map.blocks.iter().enumerate() {
            let rect = rect(block.address, block.bytes, block.from, block.until);
            // What is thinner than a third of a pixel is not seen.
            if !rect.intersects(scale.rect) || rect.height() < 0.3 {
                continue;
            }
            let wide = rect.with_max_x(rect.right().max(rect.left() + 1.0));
            let drawn = if wide.height() > 4.0 && wide.width() > 4.0 { wide.shrink(0.5) } else { wide };
            mesh.add_colored_rect(drawn, color(picture.values.get(block.value), index));
            if rect.width() > ROOM.x && rect.height() > ROOM.y && named.len() < NAMES {
                named.push((rect, block));
            }
        }
        painter.add(Shape::mesh(mesh));
        for (rect, block) in named {
            let visible = rect.intersect(scale.rect);
            let name = picture.values.get(block.value).map_or("", |value| &*value.name);
            let clipped = painter.with_clip_rect(visible);
            let (at, font) = (visible.left_center() + vec2(3.0, 0.0), FontId::proportional(10.5));
            clipped.text(at, Align2::LEFT_CENTER, name, font, on_slice());
        }
        self.marks_ui(ui, &painter, scale, picture, &rect);
    }

    /// The device's end, the request that had no room, and the selected block.
    fn marks_ui(
        &self,
        ui: &Ui,
        painter: &egui::Painter,
        scale: Scale,
        picture: &MemoryPicture,
        rect: &dyn Fn(u64, Bytes, usize, usize) -> Rect,
    ) {
        if let Some(room) = self.room {
            painter.hline(scale.rect.x_range(), scale.y(room.0 as f64), capacity_stroke(ui.visuals()));
        }
        if let Some(failure) = picture.map.failure {
            let x = scale.x(self.x_of(picture, failure.op));
            let bad = signals(ui.visuals()).bad;
            painter.vline(x, scale.rect.y_range(), (2.0, bad));
            let text = t_with("memory.no_room", failure.asked);
            let right = scale.rect.right() - x > 140.0;
            let (at, align) = if right { (x + 5.0, Align2::LEFT_TOP) } else { (x - 5.0, Align2::RIGHT_TOP) };
            painter.text(pos2(at, scale.rect.top() + 26.0), align, text, FontId::proportional(12.0), bad);
        }
        if let Some(block) = self.selected.and_then(|selected| picture.map.blocks.get(selected)) {
            let rect = rect(block.address, block.bytes, block.from, block.until).expand(1.0);
            painter.rect_stroke(rect, 1.0, selection_stroke(ui.visuals()), egui::StrokeKind::Outside);
        }
    }

    fn block_at(&self, picture: &MemoryPicture, scale: Scale, at: Pos2) -> Option<usize> {
        if !scale.rect.contains(at) {
            return None;
        }
        let (x, y) = scale.at(at);
        // The width of a pixel: short lives are found, too.
        let near = (scale.visible.x[1] - scale.visible.x[0]) / f64::from(scale.rect.width().max(1.0));
        picture.map.blocks.iter().position(|block| {
            let (from, until) = (self.x_of(picture, block.from), self.x_of(picture, block.until));
            let address = block.address as f64;
            from <= x && x < until.max(from + near) && address <= y && y < address + block.bytes.as_f64()
        })
    }

    /// One line about the block that was clicked.
    fn selected_ui(&self, ui: &mut Ui, picture: &MemoryPicture) {
        let block = self.selected.and_then(|selected| picture.map.blocks.get(selected));
        ui.horizontal(|ui| match block {
            Some(block) => {
                ui.strong(picture.values.get(block.value).map_or("", |value| &*value.name));
                ui.monospace(block_text(picture, block));
            }
            None => drop(ui.weak(t("memory.map.none"))),
        });
    }
}

/// A range of at least `least`, kept within what there is.
fn within(range: [f64; 2], all: [f64; 2], least: f64) -> [f64; 2] {
    let length = (range[1] - range[0]).clamp(least.min(all[1] - all[0]), all[1] - all[0]);
    let from = range[0].clamp(all[0], all[1] - length);
    [from, from + length]
}

/// A category has its colour; what has none gets one by its name.
fn color(value: Option<&MapValue>, index: usize) -> Color32 {
    let color = match value {
        Some(MapValue { category: Some(category), .. }) => memory_color(*category),
        Some(value) => name_color(&value.name),
        None => name_color(""),
    };
    // Neighbours of a category are told apart.
    if index.is_multiple_of(2) { color } else { color.gamma_multiply(0.86) }
}

fn axes_ui(ui: &Ui, scale: Scale, time: bool) {
    let painter = ui.painter();
    let (ink, font) = (ui.visuals().weak_text_color(), FontId::proportional(11.0));
    for (at, text) in marks(scale.visible.x, scale.rect.width() / 110.0, |at| {
        if time { Nanos(at as i64).to_string() } else { format!("{at:.0}") }
    }) {
        let x = scale.x(at);
        painter.vline(x, scale.rect.y_range(), grid_stroke(ui.visuals()));
        painter.text(pos2(x, scale.rect.bottom() + 3.0), Align2::CENTER_TOP, text, font.clone(), ink);
    }
    for (at, text) in address_marks(scale.visible.y, scale.rect.height() / 48.0) {
        let y = scale.y(at);
        painter.hline(scale.rect.x_range(), y, grid_stroke(ui.visuals()));
        painter.text(pos2(scale.rect.left() - 5.0, y), Align2::RIGHT_CENTER, text, font.clone(), ink);
    }
}

/// Even numbers in a range, about `count` of them, with their texts.
fn marks([from, to]: [f64; 2], count: f32, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let step = even_step(((to - from) / f64::from(count.max(1.0))).max(f64::MIN_POSITIVE));
    let first = (from / step).ceil();
    (0..64).map(|n| (first + f64::from(n)) * step).take_while(|&at| at <= to).map(|at| (at, text(at))).collect()
}

/// The same of addresses: by powers of 1024.
fn address_marks([from, to]: [f64; 2], count: f32) -> Vec<(f64, String)> {
    let unit = [1_073_741_824.0, 1_048_576.0, 1024.0].into_iter().find(|unit| to - from >= 2.0 * unit).unwrap_or(1.0);
    marks([from / unit, to / unit], count, |_| String::new())
        .into_iter()
        .map(|(at, _)| (at * unit, Bytes((at * unit).max(0.0) as u64).to_string()))
        .collect()
}

fn block_text(picture: &MemoryPicture, block: &Block) -> String {
    let moment =
        |moment: usize| picture.moments.get(moment).map_or_else(|| t("memory.end").to_owned(), |name| name.to_string());
    let lives = format!("{} → {}", moment(block.from), moment(block.until));
    format!("{}   {:#x}   {lives}", block.bytes, block.address)
}

fn block_ui(ui: &mut Ui, picture: &MemoryPicture, block: &Block) {
    if let Some(value) = picture.values.get(block.value) {
        ui.strong(&*value.name);
        if let Some(category) = value.category {
            ui.label(t_or_name("memory", category.name()));
        }
        if let Some(number) = value.micro_batch {
            ui.label(t_with("timeline.micro_batch", number));
        }
    }
    ui.monospace(block_text(picture, block));
    if let (Some(from), Some(until)) = (picture.starts.get(block.from), picture.starts.get(block.until)) {
        ui.monospace(format!("{from} – {until}"));
    }
}
