//! The browser's side: the entry point, and `window.shardlab`, through which tests read the state and give commands.

use std::cell::RefCell;

use shardlab_engine::analysis::step_report;
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::Scenario;
use shardlab_engine::sim::simulate;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::display::Display;
use super::{App, Remote};

#[derive(Default)]
struct Bridge {
    state: String,
    commands: Vec<String>,
    context: Option<egui::Context>,
}

thread_local! {
    static BRIDGE: RefCell<Bridge> = RefCell::default();
}

/// Starts the app on the canvas with this id.
///
/// # Errors
/// When there is no such canvas, or nothing can draw on it.
#[wasm_bindgen]
pub async fn start(canvas_id: String) -> Result<(), JsValue> {
    let document = web_sys::window().and_then(|window| window.document()).ok_or("there is no document")?;
    let canvas = document.get_element_by_id(&canvas_id).ok_or_else(|| format!("there is no element `{canvas_id}`"))?;
    let canvas: web_sys::HtmlCanvasElement = canvas.dyn_into().map_err(|_| format!("`{canvas_id}` is not a canvas"))?;
    expose()?;
    let make: eframe::AppCreator<'static> = Box::new(|context| {
        let mut app = App::try_new(context)?.shown_on(context, Display::default());
        open_fragment(&mut app);
        Ok(Box::new(app))
    });
    eframe::WebRunner::new().start(canvas, eframe::WebOptions::default(), make).await
}

/// Opens what the page's address says behind `#`: a scenario, or where one lies.
fn open_fragment(app: &mut App) {
    let Some(fragment) = web_sys::window().and_then(|window| window.location().hash().ok()) else { return };
    if shardlab_engine::scenario::is_link(&fragment) {
        app.open_link(&fragment);
    } else if let Some(url) = fragment.strip_prefix("#url=") {
        let url = js_sys::decode_uri_component(url).map_or_else(|_| url.to_owned(), String::from);
        wasm_bindgen_futures::spawn_local(async move {
            let command = match fetched(&url).await {
                Ok(text) => serde_json::json!({ "drop": { "name": url, "text": text } }),
                Err(error) => serde_json::json!({ "error": format!("{url}: {error}") }),
            };
            BRIDGE.with_borrow_mut(|bridge| {
                bridge.commands.push(command.to_string());
                bridge.context.iter().for_each(egui::Context::request_repaint);
            });
        });
    }
}

/// The text at an address.
async fn fetched(url: &str) -> Result<String, String> {
    let said = |error: JsValue| error.as_string().unwrap_or_else(|| format!("{error:?}"));
    let window = web_sys::window().ok_or("there is no window")?;
    let response = JsFuture::from(window.fetch_with_str(url)).await.map_err(said)?;
    let response: web_sys::Response = response.dyn_into().map_err(said)?;
    if !response.ok() {
        return Err(format!("the server answers {}", response.status()));
    }
    let text = JsFuture::from(response.text().map_err(said)?).await.map_err(said)?;
    text.as_string().ok_or_else(|| "it is no text".to_owned())
}

/// Tells the page around the app that nothing is drawn any more.
pub fn tell_display_lost(why: &str) {
    let said = web_sys::CustomEventInit::new();
    said.set_detail(&why.into());
    let event = web_sys::CustomEvent::new_with_event_init_dict("shardlab-display-lost", &said);
    let document = web_sys::window().and_then(|window| window.document());
    // Where there is no page there is nobody to tell.
    event.ok().zip(document).map(|(event, document)| document.dispatch_event(&event));
}

/// Puts a link into the page's address; returns all of it.
pub fn set_fragment(text: &str) -> Option<String> {
    let location = web_sys::window()?.location();
    location.set_hash(text).ok()?;
    location.href().ok()
}

/// Sets `window.shardlab = { state(), command(text), measure(preset) }`.
fn expose() -> Result<(), JsValue> {
    let object = js_sys::Object::new();
    let state = Closure::<dyn Fn() -> Option<String>>::new(|| {
        BRIDGE.with_borrow(|bridge| Some(bridge.state.clone()).filter(|state| !state.is_empty()))
    });
    let command = Closure::<dyn Fn(String)>::new(|text: String| {
        BRIDGE.with_borrow_mut(|bridge| {
            bridge.commands.push(text);
            if let Some(context) = &bridge.context {
                context.request_repaint();
            }
        });
    });
    let measure = Closure::<dyn Fn(String) -> Option<f64>>::new(|preset: String| measure(&preset));
    js_sys::Reflect::set(&object, &"state".into(), state.as_ref())?;
    js_sys::Reflect::set(&object, &"command".into(), command.as_ref())?;
    js_sys::Reflect::set(&object, &"measure".into(), measure.as_ref())?;
    // They live as long as the page.
    state.forget();
    command.forget();
    measure.forget();
    let window = web_sys::window().ok_or("there is no window")?;
    js_sys::Reflect::set(&window, &"shardlab".into(), &object)?;
    Ok(())
}

/// Milliseconds in which this browser lowers, simulates and reports a preset, for the benchmark of the page.
fn measure(preset: &str) -> Option<f64> {
    let scenario = Scenario::preset(preset).ok()?;
    let clock = web_sys::window()?.performance()?;
    let start = clock.now();
    let step = lower(&scenario);
    let trace = simulate(&step, &scenario);
    let report = step_report(&step, &scenario, &trace);
    let time = clock.now() - start;
    (report.step_time == trace.step_time).then_some(time)
}

/// Does what was asked through `window.shardlab`, and publishes the state.
pub fn exchange(app: &mut App, context: &egui::Context) {
    let commands = BRIDGE.with_borrow_mut(|bridge| {
        bridge.context.get_or_insert_with(|| context.clone());
        std::mem::take(&mut bridge.commands)
    });
    for text in commands {
        match serde_json::from_str::<Remote>(&text) {
            Ok(remote) => app.run_remote(&remote, context),
            Err(error) => app.tell_error(format!("{text}: {error}")),
        }
    }
    let state = app.state();
    BRIDGE.with_borrow_mut(|bridge| bridge.state = state);
}

/// Lets the browser paint and handle input.
pub async fn next_task() {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        if let Some(window) = web_sys::window() {
            window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, 0).ok();
        }
    });
    JsFuture::from(promise).await.ok();
}
