//! Beside the app's settings.

use std::path::PathBuf;

use shardlab_engine::exec::write_aside;

fn folder() -> Result<PathBuf, String> {
    eframe::storage_dir("shardlab").map(|folder| folder.join("run")).ok_or_else(|| "there is no home folder".to_owned())
}

/// Writes a file aside and puts it in its place.
pub async fn write(name: &str, bytes: &[u8]) -> Result<(), String> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    write_aside(&folder.join(name), bytes).map_err(|error| error.to_string())
}

/// A file, if there is one.
pub async fn read(name: &str) -> Result<Option<Vec<u8>>, String> {
    let path = folder()?.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Removes a file.
pub async fn remove(name: &str) {
    if let Ok(folder) = folder() {
        std::fs::remove_file(folder.join(name)).ok();
    }
}
