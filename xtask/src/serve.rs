//! Serving `dist/` on loopback: small, read-only, nothing above the folder is reachable.

use crate::paths;
use anyhow::{Context as _, Result, anyhow, bail};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};
use tiny_http::{Header, Method, Request, Response, Server};

const FIRST_PORT: u16 = 8080;
const PORTS_TRIED: u16 = 100;
const THREADS: usize = 4;

/// Reads a port from the command line.
///
/// # Errors
/// When it is no number from 1 to 65535.
pub fn parse_port(word: &str) -> Result<u16> {
    match word.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("expected a port from 1 to 65535 after --port, got `{word}`"),
    }
}

/// Serves `dist/` until the program is stopped.
///
/// # Errors
/// When there is no page yet, or no port is free.
pub fn serve_dist(port: Option<u16>) -> Result<()> {
    let address = start(port)?;
    println!("The app is at http://{address}/ (Ctrl-C stops it)");
    loop {
        thread::park();
    }
}

/// Starts serving `dist/` in the background and returns the address.
///
/// # Errors
/// When there is no page yet, or no port is free.
pub fn start(port: Option<u16>) -> Result<SocketAddr> {
    let root = paths::dist();
    if !root.join("index.html").is_file() {
        bail!("expected the built page in {}; run: cargo xtask web", root.display());
    }
    let listener = bind(port)?;
    let address = listener.local_addr()?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| anyhow!("the server could not start on {address}: {error}"))?;
    let server = Arc::new(server);
    for _ in 0..THREADS {
        let (server, root) = (Arc::clone(&server), root.clone());
        thread::spawn(move || {
            server.incoming_requests().for_each(|request| answer(request, &root));
        });
    }
    Ok(address)
}

/// Asks the running server for the page and its module, as a browser would.
///
/// # Errors
/// When either is not answered with status 200.
pub fn check(address: SocketAddr) -> Result<()> {
    for path in ["/", "/shardlab.js", "/shardlab_bg.wasm"] {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "HEAD {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut head = String::new();
        stream.read_to_string(&mut head)?;
        if !head.starts_with("HTTP/1.1 200") {
            let got = head.lines().next().unwrap_or("nothing");
            bail!("expected http://{address}{path} to answer 200, got `{got}`");
        }
    }
    Ok(())
}

/// The port asked for, or the first free one from 8080.
fn bind(port: Option<u16>) -> Result<TcpListener> {
    let here = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port {
        return here(port)
            .with_context(|| format!("expected port {port} of 127.0.0.1 to be free; name another with --port"));
    }
    (FIRST_PORT..FIRST_PORT + PORTS_TRIED)
        .find_map(|port| here(port).ok())
        .context("expected a free port of 127.0.0.1 from 8080 to 8179; name one with --port")
}

/// A browser that goes away in the middle is no error of ours.
fn answer(request: Request, root: &Path) {
    if !matches!(request.method(), Method::Get | Method::Head) {
        let refusal = Response::from_string("only GET and HEAD are answered").with_status_code(405);
        drop(request.respond(refusal));
        return;
    }
    let file = file_for(root, request.url());
    let takes_brotli = request.headers().iter().any(|header| {
        header.field.equiv("Accept-Encoding")
            && header.value.as_str().split(',').any(|way| way.trim().starts_with("br"))
    });
    let packed =
        file.as_ref().filter(|_| takes_brotli).and_then(|path| fs::read(format!("{}.br", path.display())).ok());
    let is_packed = packed.is_some();
    let read = |path: PathBuf| Some((kind_of(&path), packed.or_else(|| fs::read(&path).ok())?));
    let Some((kind, bytes)) = file.and_then(read) else {
        drop(request.respond(Response::from_string("there is no such file").with_status_code(404)));
        return;
    };
    // No chunks, so that the page knows the length and can show its progress.
    let mut response = Response::from_data(bytes).with_chunked_threshold(usize::MAX);
    add_header(&mut response, "Content-Type", kind);
    add_header(&mut response, "Cache-Control", "no-cache");
    if is_packed {
        add_header(&mut response, "Content-Encoding", "br");
        add_header(&mut response, "Vary", "Accept-Encoding");
    }
    drop(request.respond(response));
}

fn add_header<R: std::io::Read>(response: &mut Response<R>, name: &str, value: &str) {
    if let Ok(header) = Header::from_bytes(name, value) {
        response.add_header(header);
    }
}

/// The file under `root` that a URL names; `None` for anything that points elsewhere.
fn file_for(root: &Path, url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?.trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| root.join(path))
}

fn kind_of(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{file_for, kind_of, parse_port};
    use std::path::Path;

    #[test]
    fn nothing_above_the_folder_is_served() {
        let root = Path::new("dist");
        assert_eq!(file_for(root, "/?a=1"), Some(root.join("index.html")));
        assert_eq!(file_for(root, "/snippets/a.js"), Some(root.join("snippets/a.js")));
        assert_eq!(file_for(root, "/../Cargo.toml"), None);
        assert_eq!(file_for(root, "//etc/../../x"), None);
    }

    #[test]
    fn wasm_is_served_as_wasm() {
        assert_eq!(kind_of(Path::new("shardlab_bg.wasm")), "application/wasm");
    }

    #[test]
    fn ports_are_checked() {
        assert!(parse_port("8081").is_ok());
        assert!(parse_port("0").is_err() && parse_port("70000").is_err());
    }
}
