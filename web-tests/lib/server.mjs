// Serves a folder over loopback, on any free port.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

const KINDS = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
};

const answer = (folder) => async (request, response) => {
  const path = normalize(new URL(request.url, 'http://localhost').pathname);
  const file = join(folder, path === '/' ? 'index.html' : path);
  try {
    const kind = KINDS[extname(file)] ?? 'application/octet-stream';
    // As a server does that sends what was compressed when the page was built.
    const packed = /\bbr\b/.test(request.headers['accept-encoding'] ?? '') ? await readFile(`${file}.br`).catch(() => null) : null;
    const bytes = packed ?? (await readFile(file));
    const encoding = packed ? { 'content-encoding': 'br' } : {};
    response.writeHead(200, { 'content-type': kind, 'content-length': bytes.length, ...encoding });
    response.end(bytes);
  } catch {
    response.writeHead(404).end('there is no such file');
  }
};

/** Starts the server; returns its address and a function that stops it. */
export const serve = async (folder) => {
  const server = createServer(answer(folder));
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const close = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
};
