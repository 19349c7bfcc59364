//! In the origin's private file system: no page of another origin sees it, and nothing leaves the machine.

use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetFileOptions, FileSystemWritableFileStream,
};

/// What a browser says of an error.
fn said(error: JsValue) -> String {
    let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}

/// Whether an object has a function.
fn has(object: &JsValue, name: &str) -> bool {
    js_sys::Reflect::get(object, &name.into()).is_ok_and(|found| found.is_function())
}

async fn folder() -> Result<FileSystemDirectoryHandle, String> {
    let navigator = web_sys::window().ok_or("there is no window")?.navigator();
    // Pages that came over plain http from another machine have no storage.
    let storage = js_sys::Reflect::get(&navigator, &"storage".into()).map_err(said)?;
    if storage.is_undefined() || !has(&storage, "getDirectory") {
        return Err("this page has no storage of its own; it needs https or localhost".to_owned());
    }
    let folder = JsFuture::from(navigator.storage().get_directory()).await.map_err(said)?;
    folder.dyn_into().map_err(said)
}

/// Writes a file; a browser puts it in its place when it is closed.
pub async fn write(name: &str, bytes: &[u8]) -> Result<(), String> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let file = JsFuture::from(folder().await?.get_file_handle_with_options(name, &options)).await.map_err(said)?;
    let file: FileSystemFileHandle = file.dyn_into().map_err(said)?;
    // A call of what a browser does not have would end the page's work without a word.
    if !has(&file, "createWritable") {
        return Err("this browser cannot write into a page's own storage".to_owned());
    }
    let stream = JsFuture::from(file.create_writable()).await.map_err(said)?;
    let stream: FileSystemWritableFileStream = stream.dyn_into().map_err(said)?;
    let content = js_sys::Uint8Array::from(bytes);
    let written = JsFuture::from(stream.write_with_js_u8_array(&content).map_err(said)?).await;
    if let Err(error) = written {
        JsFuture::from(stream.abort()).await.ok();
        return Err(said(error));
    }
    JsFuture::from(stream.close()).await.map_err(said)?;
    Ok(())
}

/// A file, if there is one.
pub async fn read(name: &str) -> Result<Option<Vec<u8>>, String> {
    // That there is none is an error, too.
    let Ok(file) = JsFuture::from(folder().await?.get_file_handle(name)).await else { return Ok(None) };
    let file: FileSystemFileHandle = file.dyn_into().map_err(said)?;
    let file: File = JsFuture::from(file.get_file()).await.map_err(said)?.dyn_into().map_err(said)?;
    let content = JsFuture::from(file.array_buffer()).await.map_err(said)?;
    Ok(Some(js_sys::Uint8Array::new(&content).to_vec()))
}

/// Removes a file.
pub async fn remove(name: &str) {
    if let Ok(folder) = folder().await {
        JsFuture::from(folder.remove_entry(name)).await.ok();
    }
}
