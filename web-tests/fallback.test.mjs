// A browser without WebGPU: the same app, drawn by WebGL, with kernels on the CPU and a banner that says so.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { command, execute, until } from './lib/app.mjs';
import { coloursOf, launch, openPage, WITHOUT_WEBGPU } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const OUT = new URL('./out/', import.meta.url).pathname;
const SECONDS = 120;

let server, browser, page, errors;

before(async () => {
  await mkdir(OUT, { recursive: true });
  server = await serve(new URL('../dist/', import.meta.url).pathname);
  browser = await launch(WITHOUT_WEBGPU);
  ({ page, errors } = await openPage(browser));
  await page.goto(server.url);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

test('without WebGPU the default run is there, and a banner says that kernels run on the CPU', async () => {
  const ready = (s) => s.ready && s.step_time_ns > 0 && Boolean(s.execute.note);
  const state = await until(page, 'a finished default run and the note', ready, SECONDS);
  assert.match(state.execute.note, /no GPU adapter/);
  await command(page, { tab: 'execute' });
  await until(page, 'the Execute view', (s) => s.screen === 'execute', SECONDS);
  const png = await page.screenshot();
  await writeFile(`${OUT}without-webgpu.png`, png);
  const colours = await coloursOf(browser, png);
  assert.ok(colours > 20, `expected a painted picture in out/without-webgpu.png, it has ${colours} colours`);
});

test('without WebGPU training runs on the CPU, also where WebGPU was asked for', async () => {
  const losses = await execute(page, 3, 'wgpu', SECONDS);
  const state = await until(page, 'the device', (s) => s.backend === 'cpu', SECONDS);
  assert.equal(state.execute.device, 'CPU');
  assert.ok(losses.at(-1) < losses[0], `expected the loss to fall, got ${losses.join(', ')}`);
  assert.deepEqual(errors, [], 'expected no error on the console');
});
