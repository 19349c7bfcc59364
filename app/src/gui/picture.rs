//! Pictures of a view: what was painted in this frame as SVG, or the pixels as PNG.

use std::fmt::Write as _;
use std::sync::Arc;

use egui::epaint::{ClippedShape, ColorMode, PathShape, PathStroke, RectShape, TextShape};
use egui::{Color32, ColorImage, LayerId, Pos2, Rect, Shape, Stroke};
use shardlab_engine::report::svg::escaped;

/// What was painted inside a rectangle of the window's background layer, as SVG. `back` is the colour behind it.
pub fn svg(context: &egui::Context, area: Rect, back: Color32) -> String {
    let shapes: Vec<ClippedShape> = context.graphics(|graphics| {
        let list = graphics.get(LayerId::background());
        list.map(|list| list.all_entries().cloned().collect()).unwrap_or_default()
    });
    let mut writer = Writer { text: String::new(), clips: 0, clip: None };
    let (size, min) = (area.size(), area.min);
    let _ = writeln!(
        writer.text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0}\" height=\"{1:.0}\" viewBox=\"{2:.1} {3:.1} {0:.1} {1:.1}\">",
        size.x, size.y, min.x, min.y
    );
    writer.rect(area, 0.0, back, Stroke::NONE);
    for clipped in &shapes {
        let clip = clipped.clip_rect.intersect(area);
        if clip.is_positive() {
            writer.clipped(clip);
            writer.shape(&clipped.shape);
        }
    }
    writer.end_clip();
    writer.text.push_str("</svg>\n");
    writer.text
}

/// Shapes as text; neighbours with the same clip share a group.
struct Writer {
    text: String,
    clips: usize,
    clip: Option<Rect>,
}

impl Writer {
    fn clipped(&mut self, clip: Rect) {
        if self.clip == Some(clip) {
            return;
        }
        self.end_clip();
        self.clips += 1;
        let (n, at, size) = (self.clips, clip.min, clip.size());
        let _ = writeln!(
            self.text,
            "<clipPath id=\"c{n}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath><g clip-path=\"url(#c{n})\">",
            at.x, at.y, size.x, size.y
        );
        self.clip = Some(clip);
    }

    fn end_clip(&mut self) {
        if self.clip.take().is_some() {
            self.text.push_str("</g>\n");
        }
    }

    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Noop | Shape::Callback(_) | Shape::Band(_) => {}
            Shape::Vec(shapes) => shapes.iter().for_each(|shape| self.shape(shape)),
            Shape::Circle(circle) => {
                let (at, r) = (circle.center, circle.radius);
                let paint = paint(circle.fill, circle.stroke);
                let _ = writeln!(self.text, "<circle cx=\"{:.2}\" cy=\"{:.2}\" r=\"{r:.2}\"{paint}/>", at.x, at.y);
            }
            Shape::Ellipse(ellipse) => {
                let (at, r, paint) = (ellipse.center, ellipse.radius, paint(ellipse.fill, ellipse.stroke));
                let _ = writeln!(
                    self.text,
                    "<ellipse cx=\"{:.2}\" cy=\"{:.2}\" rx=\"{:.2}\" ry=\"{:.2}\"{paint}/>",
                    at.x, at.y, r.x, r.y
                );
            }
            Shape::LineSegment { points, stroke } => self.line(points, false, Color32::TRANSPARENT, *stroke),
            Shape::Path(path) => self.path(path),
            Shape::Rect(rect) => self.rect_shape(rect),
            Shape::Text(text) => self.text_shape(text),
            Shape::Mesh(mesh) => self.mesh(mesh),
            Shape::QuadraticBezier(curve) => self.curve('Q', &curve.points, curve.fill, solid(&curve.stroke)),
            Shape::CubicBezier(curve) => self.curve('C', &curve.points, curve.fill, solid(&curve.stroke)),
        }
    }

    fn rect_shape(&mut self, rect: &RectShape) {
        // Textures and shadows are no part of a chart.
        if rect.brush.is_none() && rect.blur_width == 0.0 {
            self.rect(rect.rect, f32::from(rect.corner_radius.nw), rect.fill, rect.stroke);
        }
    }

    fn rect(&mut self, rect: Rect, radius: f32, fill: Color32, stroke: Stroke) {
        let (at, size, paint) = (rect.min, rect.size(), paint(fill, stroke));
        if paint.is_empty() || !rect.is_finite() {
            return;
        }
        let round = if radius > 0.0 { format!(" rx=\"{radius:.1}\"") } else { String::new() };
        let _ = writeln!(
            self.text,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"{round}{paint}/>",
            at.x,
            at.y,
            size.x.max(0.0),
            size.y.max(0.0)
        );
    }

    fn path(&mut self, path: &PathShape) {
        self.line(&path.points, path.closed, path.fill, solid(&path.stroke));
    }

    fn curve(&mut self, kind: char, points: &[Pos2], fill: Color32, stroke: Stroke) {
        let paint = paint(fill, stroke);
        if paint.is_empty() || !points.iter().all(|at| at.is_finite()) {
            return;
        }
        let list: Vec<String> = points.iter().map(|at| format!("{:.2} {:.2}", at.x, at.y)).collect();
        let Some((first, rest)) = list.split_first() else { return };
        let _ = writeln!(self.text, "<path d=\"M{first} {kind}{}\"{paint}/>", rest.join(" "));
    }

    fn line(&mut self, points: &[Pos2], closed: bool, fill: Color32, stroke: Stroke) {
        let paint = paint(fill, stroke);
        if paint.is_empty() || points.len() < 2 {
            return;
        }
        let list: Vec<String> = points.iter().map(|at| format!("{:.2},{:.2}", at.x, at.y)).collect();
        let name = if closed { "polygon" } else { "polyline" };
        let _ = writeln!(self.text, "<{name} points=\"{}\"{paint}/>", list.join(" "));
    }

    /// Triangles in the colour of their first corner; pictures are left out.
    fn mesh(&mut self, mesh: &egui::Mesh) {
        if mesh.texture_id != egui::TextureId::default() {
            return;
        }
        for corners in mesh.indices.chunks_exact(3) {
            let at = |corner: usize| mesh.vertices.get(corners[corner] as usize);
            if let (Some(a), Some(b), Some(c)) = (at(0), at(1), at(2)) {
                self.line(&[a.pos, b.pos, c.pos], true, a.color, Stroke::NONE);
            }
        }
    }

    /// Glyphs of a row as texts, one for each run of a colour.
    fn text_shape(&mut self, text: &TextShape) {
        let galley = &text.galley;
        let size = galley.job.sections.first().map_or(12.0, |section| section.format.font_id.size);
        let mono = galley.job.sections.first().is_some_and(|s| s.format.font_id.family == egui::FontFamily::Monospace);
        let family = if mono { "monospace" } else { "system-ui, sans-serif" };
        let turned = text.angle != 0.0;
        for row in &galley.rows {
            let colour = |glyph: &egui::epaint::text::Glyph| {
                let own = row.visuals.mesh.vertices.get(glyph.first_vertex as usize).map(|vertex| vertex.color);
                let own = own.filter(|own| *own != Color32::PLACEHOLDER).unwrap_or(text.fallback_color);
                text.override_text_color.unwrap_or(own)
            };
            let is_drawn = |glyph: &&egui::epaint::text::Glyph| !glyph.chr.is_control();
            let glyphs: Vec<_> = row.glyphs.iter().filter(is_drawn).collect();
            for run in glyphs.chunk_by(|a, b| colour(a) == colour(b) || a.chr == ' ' || b.chr == ' ') {
                let line: String = run.iter().map(|glyph| glyph.chr).collect();
                let Some(first) = run.iter().find(|glyph| glyph.chr != ' ') else { continue };
                let at = text.pos + row.pos.to_vec2() + run[0].pos.to_vec2();
                let width = run.last().map_or(0.0, |last| last.max_x() - run[0].pos.x);
                let fill = fill_of(colour(first).gamma_multiply(text.opacity_factor));
                let turn = if turned {
                    format!(" transform=\"rotate({:.1} {:.2} {:.2})\"", text.angle.to_degrees(), text.pos.x, text.pos.y)
                } else {
                    String::new()
                };
                let _ = writeln!(
                    self.text,
                    "<text x=\"{:.2}\" y=\"{:.2}\" font-family=\"{family}\" font-size=\"{size:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{}\"{}{turn}>{}</text>",
                    at.x,
                    at.y,
                    fill.0,
                    fill.1,
                    escaped(&line)
                );
            }
        }
    }
}

fn solid(stroke: &PathStroke) -> Stroke {
    match &stroke.color {
        ColorMode::Solid(color) => Stroke::new(stroke.width, *color),
        // A colour that changes along the path: as it is in the middle.
        ColorMode::UV(color) => Stroke::new(stroke.width, color(Rect::EVERYTHING, Pos2::ZERO)),
    }
}

/// A colour, and its opacity where it is not whole.
fn fill_of(color: Color32) -> (String, String) {
    let [red, green, blue, alpha] = color.to_srgba_unmultiplied();
    let opacity =
        if alpha == 255 { String::new() } else { format!(" fill-opacity=\"{:.3}\"", f32::from(alpha) / 255.0) };
    (format!("#{red:02x}{green:02x}{blue:02x}"), opacity)
}

/// Attributes of fill and stroke; nothing where neither would be seen.
fn paint(fill: Color32, stroke: Stroke) -> String {
    let (filled, stroked) = (fill.a() > 0, stroke.width > 0.0 && stroke.color.a() > 0);
    if !filled && !stroked {
        return String::new();
    }
    let mut text = String::new();
    if filled {
        let (color, opacity) = fill_of(fill);
        let _ = write!(text, " fill=\"{color}\"{opacity}");
    } else {
        text.push_str(" fill=\"none\"");
    }
    if stroked {
        let (color, opacity) = fill_of(stroke.color);
        let opacity = opacity.replace("fill-opacity", "stroke-opacity");
        let _ = write!(text, " stroke=\"{color}\" stroke-width=\"{:.2}\"{opacity}", stroke.width);
    }
    text
}

/// The part of a screenshot that shows `area`, as PNG.
///
/// # Errors
/// When it shows nothing, or cannot be written.
pub fn png(image: &Arc<ColorImage>, area: Rect, pixels_per_point: f32) -> Result<Vec<u8>, String> {
    let whole = Rect::from_min_size(Pos2::ZERO, egui::vec2(image.width() as f32, image.height() as f32));
    let part = (area * pixels_per_point).intersect(whole);
    let (left, top) = (part.left().round() as usize, part.top().round() as usize);
    let (width, height) = (part.width().floor() as usize, part.height().floor() as usize);
    if !part.is_positive() || width == 0 || height == 0 {
        return Err("nothing of the view is on screen".to_owned());
    }
    let mut pixels: Vec<u8> = Vec::with_capacity(width * height * 4);
    for row in image.pixels.chunks(image.width()).skip(top).take(height) {
        pixels.extend(row.iter().skip(left).take(width).flat_map(Color32::to_array));
    }
    let mut bytes = Vec::new();
    let size = |n: usize| u32::try_from(n).map_err(|error| error.to_string());
    let mut encoder = png::Encoder::new(&mut bytes, size(width)?, size(height)?);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&pixels).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}
