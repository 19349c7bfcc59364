// The page around the app: what it says when the app cannot start or stops. Needs no build.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const ROOT = new URL('../', import.meta.url);

/** The smallest module there is: magic and version. */
const EMPTY_WASM = Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]);

let server, browser, page;

before(async () => {
  server = await serve(ROOT.pathname);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const failure = async (kind) => {
  const cover = page.locator(`#cover[data-failure="${kind}"]`);
  await cover.waitFor({ state: 'visible', timeout: 20_000 });
  return cover.innerText();
};

/** Opens the page with a stand-in for the app's script. */
const openWith = async (script) => {
  ({ page } = await openPage(browser));
  await page.route('**/shardlab.js', (route) => route.fulfill({ contentType: 'text/javascript', body: script }));
  await page.route('**/shardlab_bg.wasm', (route) =>
    route.fulfill({ contentType: 'application/wasm', body: EMPTY_WASM }),
  );
  await page.goto(server.url);
};

/** A stand-in that reads the module as the real one does. */
const standIn = (start) => `
  export default async ({ module_or_path }) => { await WebAssembly.instantiateStreaming(module_or_path); };
  export const start = async (id) => { ${start} };`;

test('the cover goes when the app has started on its canvas', async () => {
  await openWith(standIn("document.getElementById(id).dataset.started = 'yes';"));
  await page.locator('#shardlab_canvas[data-started]').waitFor();
  await page.locator('#cover').waitFor({ state: 'hidden' });
});

test('a panic is shown with its message and how to report it', async () => {
  await openWith(
    standIn(`setTimeout(() => {
      console.error('panicked at app/src/x.rs:1:1: no such rank');
      throw new WebAssembly.RuntimeError('unreachable');
    });`),
  );
  const text = await failure('panic');
  assert.match(text, /no such rank/);
  assert.match(text, /issue/);
});

test('a panic while starting is shown too', async () => {
  await openWith(standIn("console.error('panicked at start'); throw new WebAssembly.RuntimeError('unreachable');"));
  assert.match(await failure('panic'), /panicked at start/);
});

test('a missing app is told from a broken one', async () => {
  ({ page } = await openPage(browser));
  await page.route('**/shardlab*', (route) => route.fulfill({ status: 404, body: '' }));
  await page.goto(server.url);
  assert.match(await failure('load'), /could not be loaded/);
});

test('a browser without WebAssembly is told so', async () => {
  ({ page } = await openPage(browser));
  await page.addInitScript(() => delete globalThis.WebAssembly);
  await page.goto(server.url);
  assert.match(await failure('wasm'), /current Firefox/);
});

test('a browser whose WebAssembly has no SIMD is told so', async () => {
  ({ page } = await openPage(browser));
  await page.addInitScript(() => { WebAssembly.validate = () => false; });
  await page.goto(server.url);
  assert.match(await failure('wasm'), /SIMD/);
});

test('a page opened from disk says how to serve it', async () => {
  ({ page } = await openPage(browser));
  await page.goto(new URL('index.html', ROOT).href);
  assert.match(await failure('file'), /cargo xtask serve/);
});
