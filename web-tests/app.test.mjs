// Drives the built page in a real browser: what a visitor sees first, and what they can do then.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command, execute, stateOf, until } from './lib/app.mjs';
import { coloursOf, openPage } from './lib/browser.mjs';
import { visit } from './lib/visit.mjs';

/** The first thing anyone sees: a 7B model on one node of eight H100. */
const DEFAULT_PRESET = 'llama2-7b-8xh100';
const OTHER_PRESET = 'gpt2-124m-8xa100';

/** Software WebGPU on a shared machine is slow; these are limits, not expectations. */
const LOAD_SECONDS = 60;
const CHANGE_SECONDS = 60;
const EXECUTE_SECONDS = 300;
/** Every way of every product is measured: a minute or two here, and machines may be three times as slow. */
const BENCH_SECONDS = 600;
const LOSS_TOLERANCE = 1e-3;

const here = visit();

test('the first thing to see is a finished run of the default scenario', async () => {
  const state = await until(here.page, 'a finished default run', (s) => s.ready && s.step_time_ns > 0, LOAD_SECONDS);
  assert.equal(state.preset, DEFAULT_PRESET);
  assert.equal(state.fits, true);
  assert.equal(state.language, 'en');
  await here.page.locator('#cover').waitFor({ state: 'hidden' });
  const colours = await coloursOf(here.browser, await here.screenshot('default'));
  assert.ok(colours > 20, `expected a painted picture in out/default.png, it has ${colours} colours`);
  here.noErrors();
});

test('another preset is simulated when chosen', async () => {
  const earlier = await stateOf(here.page);
  await command(here.page, { preset: OTHER_PRESET });
  const changed = (s) => s.ready && s.preset === OTHER_PRESET && s.step_time_ns !== earlier.step_time_ns;
  const state = await until(here.page, `the run of ${OTHER_PRESET}`, changed, CHANGE_SECONDS);
  assert.ok(state.step_time_ns > 0);
  here.noErrors();
});

test('a search finds strategies while the page stays alive', { timeout: 300_000 }, async () => {
  await command(here.page, { tab: 'search' });
  await command(here.page, 'search');
  const found = (s) => s.search.running === false && s.search.found > 0;
  const state = await until(here.page, 'strategies', found, EXECUTE_SECONDS);
  assert.ok(state.search.counts.simulated > 0, JSON.stringify(state.search));
  await here.screenshot('search');
  here.noErrors();
});

test('a trace that is dropped is played through caches of every policy', async () => {
  await command(here.page, { tab: 'data' });
  const lines = Array.from({ length: 5000 }, (_, n) => `${(n * n) % 97},${100 + (n % 7)}`);
  await command(here.page, { drop: { name: 'reads.csv', text: ['object,size', ...lines].join('\n') } });
  const done = ({ data }) => data.error || (!data.running && data.curves > 0);
  const { data } = await until(here.page, 'curves of caches', done, CHANGE_SECONDS);
  assert.equal(data.error, null);
  assert.equal(data.requests, 5000);
  assert.equal(data.curves, 13);
  await here.screenshot('data');
  here.noErrors();
});

test('the device is measured in the page, and nothing that ranks exchange is wrong', { timeout: 700_000 }, async () => {
  await command(here.page, { tab: 'bench' });
  await command(here.page, { bench: ['peak', 'matmul', 'collectives'] });
  const done = ({ bench }) => bench.error || (!bench.running && bench.figures > 0);
  const { bench } = await until(here.page, 'a measured device', done, BENCH_SECONDS);
  assert.equal(bench.error, null);
  assert.equal(bench.report.backend.kind, 'wgpu');
  const of = (section) => bench.report.figures.filter((figure) => figure.section === section);
  const peaks = of('peak').map(({ name }) => name);
  // Half precision is there where the device has it.
  for (const name of ['fp32', 'fp32 x2', 'fp32 x4', 'int8, packed']) assert.ok(peaks.includes(name), peaks.join(', '));
  assert.ok(of('matmul').length > 1, peaks.join(', '));
  const products = of('matmul').filter(({ name }) => !name.endsWith('arithmetic'));
  const [integers, floats] = [true, false].map((packed) => products.filter(({ name }) => name.endsWith('int8') === packed));
  assert.ok(floats.every(({ detail }) => detail.includes('matmul_tiled')), 'expected all ways beside the fastest');
  assert.ok(integers.length > 0 && integers.every(({ detail }) => detail.includes('quantize_rows')), JSON.stringify(integers));
  const wrong = of('collectives').filter(({ detail }) => !detail.endsWith('#wrong 0'));
  assert.deepEqual(wrong, []);
  await here.screenshot('bench');
  here.noErrors();
});

test('ten real steps on WebGPU and on the CPU give the same falling loss', { timeout: 700_000 }, async () => {
  await command(here.page, { tab: 'execute' });
  const onGpu = await execute(here.page, 10, 'wgpu', EXECUTE_SECONDS);
  const device = await stateOf(here.page);
  assert.equal(device.backend, 'wgpu', `expected WebGPU to run, not a fallback: ${JSON.stringify(device.execute.note)}`);
  await here.screenshot('execute');
  const onCpu = await execute(here.page, 10, 'cpu', EXECUTE_SECONDS);
  assert.equal((await stateOf(here.page)).backend, 'cpu');
  for (const [step, loss] of onGpu.entries()) {
    const apart = Math.abs(loss - onCpu[step]) / Math.abs(onCpu[step]);
    assert.ok(apart <= LOSS_TOLERANCE, `step ${step}: ${loss} on WebGPU, ${onCpu[step]} on the CPU`);
  }
  assert.ok(onGpu.at(-1) < onGpu[0], `expected the loss to fall, got ${onGpu.join(', ')}`);
  assert.ok(onCpu.at(-1) < onCpu[0], `expected the loss to fall, got ${onCpu.join(', ')}`);
  here.noErrors();
});

test('a step that does not fit is told with what would make it fit', async () => {
  await command(here.page, { preset: 'oom-13b' });
  await until(here.page, 'the preset', (s) => s.ready && s.scenario === 'oom-13b', CHANGE_SECONDS);
  await command(here.page, { memory: 'map' });
  await until(here.page, 'a map', ({ memory }) => memory.blocks > 100, CHANGE_SECONDS);
  await here.screenshot('memory-map');
  await command(here.page, { memory: 'fit' });
  const done = ({ memory }) => !memory.running && memory.rows === 7 && memory.fitting > 2;
  const { fits } = await until(here.page, 'changes that fit', done, CHANGE_SECONDS * 2);
  assert.equal(fits, false);
  await here.screenshot('memory-fit');
  here.noErrors();
});

test('what is handed to many nodes is drawn while the page stays alive', async () => {
  await command(here.page, { preset: 'checkpoint-broadcast-512' });
  await until(here.page, 'the preset', (s) => s.ready && s.scenario === 'checkpoint-broadcast-512', CHANGE_SECONDS);
  await command(here.page, 'moving');
  const { storage } = await until(here.page, 'a transfer', (s) => s.storage.moving.time_ns && !s.storage.moving.running, CHANGE_SECONDS);
  assert.ok(storage.moving.time_ns >= storage.moving.ideal_ns);
  await here.screenshot('moving');
  here.noErrors();
});

test('a run is kept in the page\'s own storage, and goes on after a reload', { timeout: 300_000 }, async () => {
  const before = (await stateOf(here.page)).execute;
  const steps = before.steps.length;
  assert.equal(before.checkpoint, steps, 'the last step is a checkpoint');
  assert.ok(before.stored.stored > 0 && before.stored.writing > 0, 'keeping it was measured');
  await here.page.reload();
  const state = await until(here.page, 'the run of before', (s) => s.execute?.kept, LOAD_SECONDS);
  assert.equal(state.execute.kept.steps, steps);
  await command(here.page, 'go_on');
  await command(here.page, { tab: 'execute' });
  const further = ({ execute: run }) => run.error || run.steps.length > 0;
  const { execute: run } = await until(here.page, 'another step', further, EXECUTE_SECONDS);
  assert.equal(run.error, null);
  assert.equal(run.steps[0].step, steps + 1);
  await here.screenshot('kept');
  await command(here.page, 'cancel');
  here.noErrors();
});

test('a malformed scenario that is dropped gives an error, and the app goes on', async () => {
  const text = '[strategy]\ntensor_parallel = "many"\n\u0000';
  await command(here.page, { drop: { name: 'x.toml', text } });
  const state = await until(here.page, 'an error about x.toml', (s) => Boolean(s.toast), CHANGE_SECONDS);
  assert.ok(JSON.stringify(state.toast).length > 10, 'expected the error to say something');
  await here.screenshot('malformed');
  await command(here.page, { preset: DEFAULT_PRESET });
  const back = (s) => s.ready && s.preset === DEFAULT_PRESET && s.step_time_ns > 0;
  await until(here.page, 'the default run again', back, CHANGE_SECONDS);
  here.noErrors();
});

test('the keyboard works: the help sheet, and a command that is searched for', async () => {
  await here.page.mouse.click(700, 800);
  await here.page.keyboard.press('?');
  await until(here.page, 'the help sheet', (s) => s.help, CHANGE_SECONDS);
  await here.screenshot('help');
  await here.page.keyboard.press('?');
  await until(here.page, 'no help sheet', (s) => !s.help, CHANGE_SECONDS);
  await here.page.keyboard.press('Control+k');
  await until(here.page, 'the palette with the keyboard', (s) => s.palette && s.typing, CHANGE_SECONDS);
  await here.page.keyboard.type('memory', { delay: 60 });
  await here.page.keyboard.press('Backspace');
  await here.screenshot('palette');
  await here.page.keyboard.press('Escape');
  await until(here.page, 'no palette', (s) => !s.palette && !s.typing, CHANGE_SECONDS);
  await here.page.keyboard.press('3');
  await until(here.page, 'the Graph view', (s) => s.screen === 'graph', CHANGE_SECONDS);
  here.noErrors();
});

test('the language can be changed to Chinese', async () => {
  await command(here.page, { language: 'zh' });
  await until(here.page, 'the Chinese interface', (s) => s.language === 'zh', CHANGE_SECONDS);
  const colours = await coloursOf(here.browser, await here.screenshot('chinese'));
  assert.ok(colours > 20, `expected a painted picture in out/chinese.png, it has ${colours} colours`);
  here.noErrors();
});

test('a trace of a profiler that is dropped is drawn and analysed', async () => {
  const slice = (name, stream, ts, dur) =>
    ({ ph: 'X', cat: 'kernel', name, pid: 0, tid: stream, ts, dur, args: { device: 0, stream } });
  const traceEvents = Array.from({ length: 200 }, (_, n) => [
    slice('sm90_xmma_gemm_bf16', 7, n * 100, 60),
    slice('ncclDevKernel_AllReduce_Sum_bf16', 20, n * 100 + 40, 40),
  ]).flat();
  const text = JSON.stringify({ distributedInfo: { rank: 0 }, traceEvents });
  await command(here.page, { drop: { name: 'rank0.pt.trace.json', text } });
  const drawn = (s) => s.traces.running === false && s.traces.slices === 400;
  const state = await until(here.page, 'the slices of the trace', drawn, CHANGE_SECONDS);
  assert.equal(state.screen, 'traces');
  await here.screenshot('traces');
  here.noErrors();
});

test('a link that was copied opens its scenario in another page', async () => {
  await command(here.page, { preset: OTHER_PRESET });
  await until(here.page, OTHER_PRESET, (s) => s.ready && s.preset === OTHER_PRESET, CHANGE_SECONDS);
  await command(here.page, { tab: 'memory' });
  await command(here.page, { command: 'share' });
  const { link } = await until(here.page, 'a link', (s) => s.link, CHANGE_SECONDS);
  assert.ok(link.startsWith(here.server.url) && link.includes('#s=1.') && link.length < 8192, link);
  const other = await openPage(here.browser);
  await other.page.goto(link);
  const opened = (s) => s.ready && s.scenario === OTHER_PRESET;
  const state = await until(other.page, 'the scenario of the link', opened, LOAD_SECONDS);
  assert.equal(state.screen, 'memory');
  await other.page.close();
  here.noErrors();
});

test('a link with rubbish is refused with a sentence, and the default run is there', async () => {
  const other = await openPage(here.browser);
  await other.page.goto(`${here.server.url}#s=1.rubbish`);
  const told = (s) => s.ready && s.toast?.includes('the link is damaged');
  const state = await until(other.page, 'a sentence', told, LOAD_SECONDS);
  assert.equal(state.preset, DEFAULT_PRESET);
  await other.page.close();
});
