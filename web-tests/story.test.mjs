// The story of a visit, from the first look to a measured run: every step leaves a picture in out/.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { command, execute, stateOf, until } from './lib/app.mjs';
import { launch, openPage } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const DIST = new URL('../dist/', import.meta.url).pathname;
const OUT = new URL('./out/', import.meta.url).pathname;
const DEFAULT_PRESET = 'llama2-7b-8xh100';
/** Software WebGPU on a shared machine is slow; these are limits, not expectations. */
const CHANGE_SECONDS = 60;
const EXECUTE_SECONDS = 300;
const STEPS = 20;

let server, browser, page, errors;

before(async () => {
  await mkdir(OUT, { recursive: true });
  server = await serve(DIST);
  browser = await launch();
  ({ page, errors } = await openPage(browser));
  await page.goto(server.url);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const picture = async (name) => writeFile(`${OUT}story-${name}.png`, await page.screenshot());
const noErrors = () => assert.deepEqual(errors, [], 'expected no error on the console');

/** The step time once the last change is simulated. */
const changed = async (what, earlier) => {
  const other = (s) => s.ready && s.step_time_ns !== earlier.step_time_ns;
  return until(page, what, other, CHANGE_SECONDS);
};

test('the default run is there, and the tour can be left', async () => {
  const state = await until(page, 'the default run', (s) => s.ready && s.step_time_ns > 0, CHANGE_SECONDS);
  assert.equal(state.preset, DEFAULT_PRESET);
  assert.equal(state.tour, 0, 'a first visit begins with the tour');
  await picture('01-tour');
  await page.keyboard.press('Escape');
  await until(page, 'no tour', (s) => s.tour === null, CHANGE_SECONDS);
  await picture('02-default');
  noErrors();
});

test('tensor parallel 4 is compared with the baseline, and the settings say why', async () => {
  await command(page, { command: 'pin_baseline' });
  const earlier = await stateOf(page);
  await command(page, { set: ['strategy.tensor_parallel', 4] });
  await changed('tensor parallel 4', earlier);
  await command(page, { command: 'pin_variant' });
  await command(page, { command: 'why' });
  const why = (s) => s.compare.causes > 0 && s.compare.pinned.length === 2;
  const state = await until(page, 'causes', why, CHANGE_SECONDS);
  assert.equal(state.screen, 'compare');
  await picture('03-compare');
  noErrors();
});

test('the critical path is shown', async () => {
  await command(page, { tab: 'timeline' });
  await command(page, { command: 'critical_path' });
  await until(page, 'the critical path', (s) => s.timeline.critical, CHANGE_SECONDS);
  await picture('04-critical-path');
  await command(page, { command: 'critical_path' });
  noErrors();
});

test('an advice is applied and the step is faster', { timeout: 300_000 }, async () => {
  const earlier = await stateOf(page);
  await command(page, { command: 'advise' });
  const found = (s) => s.advice.running === false && s.advice.found > 0;
  await until(page, 'advice', found, EXECUTE_SECONDS);
  await picture('05-advice');
  await command(page, { command: 'apply_advice' });
  const state = await changed('the advised step', earlier);
  assert.ok(state.step_time_ns < earlier.step_time_ns, `${state.step_time_ns} of ${earlier.step_time_ns}`);
  noErrors();
});

test('a link opens the same step in another page, and the work is there after a reload', async () => {
  const earlier = await stateOf(page);
  await command(page, { tab: 'network' });
  await command(page, { command: 'share' });
  const { link } = await until(page, 'a link', (s) => s.link, CHANGE_SECONDS);
  const other = await openPage(browser);
  await other.page.goto(link);
  const same = (s) => s.ready && s.step_time_ns === earlier.step_time_ns;
  assert.equal((await until(other.page, 'the step of the link', same, CHANGE_SECONDS)).screen, 'network');
  // The work is kept every two seconds. Without the link in its address the page opens what was kept.
  const elsewhere = await stateOf(other.page);
  await command(other.page, { tab: 'summary' });
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await other.page.goto('about:blank');
  await other.page.goto(server.url);
  const kept = (s) => s.ready && s.step_time_ns === elsewhere.step_time_ns && s.screen === 'summary';
  await until(other.page, 'the work of before', kept, CHANGE_SECONDS);
  assert.deepEqual(other.errors, []);
  await other.page.close();
  noErrors();
});

test('what lies at an address is opened, and rubbish there is said to be none', async () => {
  const other = await openPage(browser);
  const scenario = 'name = "of an address"\n[model]\npreset = "gpt2-124m"\n[cluster]\ndevice = "a100-80gb-sxm"\n[strategy]\nglobal_batch = 8\n';
  await other.page.route('**/shared.toml', (route) => route.fulfill({ body: scenario }));
  await other.page.goto(`${server.url}#url=${encodeURIComponent(`${server.url}shared.toml`)}`);
  const opened = (s) => s.ready && s.scenario === 'of an address';
  await until(other.page, 'the scenario of the address', opened, CHANGE_SECONDS);
  await other.page.close();
  const wrong = await openPage(browser);
  await wrong.page.goto(`${server.url}#url=${encodeURIComponent(`${server.url}nothing.toml`)}`);
  const told = (s) => s.ready && s.toast?.includes('404');
  assert.equal((await until(wrong.page, 'a sentence', told, CHANGE_SECONDS)).preset, DEFAULT_PRESET);
  await wrong.page.close();
});

test('everything can be exported', async () => {
  await command(page, 'keep_exports');
  const commands = [
    'save_scenario', 'export_json', 'export_csv', 'export_memory', 'export_perfetto', 'export_graph', 'export_png',
    'export_svg', 'export_page',
  ];
  for (const name of commands) await command(page, { command: name });
  const all = (s) => s.exports?.length === commands.length;
  const { exports } = await until(page, 'all exports', all, CHANGE_SECONDS);
  for (const [name, bytes] of exports) assert.ok(bytes > 400, `${name} has ${bytes} bytes`);
  for (const end of ['.png', '.svg', '.html', '.json.gz', '.toml', '.dot']) {
    assert.ok(exports.some(([name]) => name.endsWith(end)), `expected a ${end} among ${exports}`);
  }
  noErrors();
});

test('a trace of a profiler is compared with the step', async () => {
  const slice = (name, stream, ts, dur) =>
    ({ ph: 'X', cat: 'kernel', name, pid: 0, tid: stream, ts, dur, args: { device: 0, stream } });
  const traceEvents = Array.from({ length: 300 }, (_, n) => [
    slice('sm90_xmma_gemm_bf16', 7, n * 100, 70),
    slice('ncclDevKernel_AllReduce_Sum_bf16', 20, n * 100 + 50, 40),
  ]).flat();
  const text = JSON.stringify({ distributedInfo: { rank: 0 }, traceEvents });
  await command(page, { drop: { name: 'rank0.pt.trace.json', text } });
  await until(page, 'the slices of the trace', (s) => s.traces.slices === 600, CHANGE_SECONDS);
  await picture('06-trace');
  noErrors();
});

test('twenty steps are executed on WebGPU and compared with the prediction', { timeout: 900_000 }, async () => {
  await command(page, { preset: 'tiny-llama-1' });
  await until(page, 'a small model', (s) => s.ready && s.preset === 'tiny-llama-1', CHANGE_SECONDS);
  await command(page, { tab: 'execute' });
  const losses = await execute(page, STEPS, 'wgpu', EXECUTE_SECONDS);
  assert.ok(losses.at(-1) < losses[0], `the loss falls: ${losses}`);
  await picture('07-executed');
  await command(page, { tab: 'compare' });
  await command(page, 'predict');
  const compared = (s) => s.compare.running === false && s.compare.ratio > 0;
  const { compare } = await until(page, 'prediction beside execution', compared, EXECUTE_SECONDS);
  assert.ok(Number.isFinite(compare.ratio));
  await picture('08-predicted');
  noErrors();
});

test('rubbish of every kind is refused with a sentence, and the open work stays', async () => {
  const earlier = await stateOf(page);
  const cases = {
    'a.pt.trace.json': '{"traceEvents": [{"ph": "X", "ts": "never", "dur": []}]}',
    'b.pt.trace.json': '{"traceEvents": [{"ph": 7',
    'c.toml': '[strategy]\ntensor_parallel = -1',
    'd.csv': '',
    'e.log': 'nothing of interest',
    'f.sqlite': 'SQLite format 3\u0000 and nothing else',
  };
  for (const [name, text] of Object.entries(cases)) {
    await command(page, { drop: { name, text } });
    const state = await until(page, `a sentence about ${name}`, (s) => s.toast?.includes(name), CHANGE_SECONDS);
    assert.ok(state.toast.length > name.length + 20, state.toast);
  }
  const { step_time_ns, scenario } = await stateOf(page);
  assert.deepEqual({ step_time_ns, scenario }, { step_time_ns: earlier.step_time_ns, scenario: earlier.scenario });
});
