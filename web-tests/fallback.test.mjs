// A browser without WebGPU: the same app, drawn by WebGL, with kernels on the CPU and a banner that says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command, execute, until } from './lib/app.mjs';
import { coloursOf, WITHOUT_WEBGPU } from './lib/browser.mjs';
import { visit } from './lib/visit.mjs';

const SECONDS = 120;

const here = visit({ flags: WITHOUT_WEBGPU });

test('without WebGPU the default run is there, and a banner says that kernels run on the CPU', async () => {
  const ready = (s) => s.ready && s.step_time_ns > 0 && Boolean(s.execute.note);
  const state = await until(here.page, 'a finished default run and the note', ready, SECONDS);
  assert.match(state.execute.note, /no GPU adapter/);
  await command(here.page, { tab: 'execute' });
  await until(here.page, 'the Execute view', (s) => s.screen === 'execute', SECONDS);
  const png = await here.screenshot('without-webgpu');
  const colours = await coloursOf(here.browser, png);
  assert.ok(colours > 20, `expected a painted picture in out/without-webgpu.png, it has ${colours} colours`);
});

test('without WebGPU training runs on the CPU, also where WebGPU was asked for', async () => {
  const losses = await execute(here.page, 3, 'wgpu', SECONDS);
  const state = await until(here.page, 'the device', (s) => s.backend === 'cpu', SECONDS);
  assert.equal(state.execute.device, 'CPU');
  assert.ok(losses.at(-1) < losses[0], `expected the loss to fall, got ${losses.join(', ')}`);
  here.noErrors();
});
