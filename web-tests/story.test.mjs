// The story of a visit, from the first look to a measured run: every step leaves a picture in out/.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command, execute, stateOf, until } from './lib/app.mjs';
import { openPage } from './lib/browser.mjs';
import { visit } from './lib/visit.mjs';

const DEFAULT_PRESET = 'llama2-7b-8xh100';
/** Software WebGPU on a shared machine is slow; these are limits, not expectations. */
const CHANGE_SECONDS = 60;
const EXECUTE_SECONDS = 300;
const STEPS = 20;

const here = visit();

/** The step time once the last change is simulated. */
const changed = async (what, earlier) => {
  const other = (s) => s.ready && s.step_time_ns !== earlier.step_time_ns;
  return until(here.page, what, other, CHANGE_SECONDS);
};

test('the default run is there, and the tour can be left', async () => {
  const state = await until(here.page, 'the default run', (s) => s.ready && s.step_time_ns > 0, CHANGE_SECONDS);
  assert.equal(state.preset, DEFAULT_PRESET);
  assert.equal(state.tour, 0, 'a first visit begins with the tour');
  await here.screenshot('story-01-tour');
  await here.page.keyboard.press('Escape');
  await until(here.page, 'no tour', (s) => s.tour === null, CHANGE_SECONDS);
  await here.screenshot('story-02-default');
  here.noErrors();
});

test('tensor parallel 4 is compared with the baseline, and the settings say why', async () => {
  await command(here.page, { command: 'pin_baseline' });
  const earlier = await stateOf(here.page);
  await command(here.page, { set: ['strategy.tensor_parallel', 4] });
  await changed('tensor parallel 4', earlier);
  await command(here.page, { command: 'pin_variant' });
  await command(here.page, { command: 'why' });
  const why = (s) => s.compare.causes > 0 && s.compare.pinned.length === 2;
  const state = await until(here.page, 'causes', why, CHANGE_SECONDS);
  assert.equal(state.screen, 'compare');
  await here.screenshot('story-03-compare');
  here.noErrors();
});

test('the critical path is shown', async () => {
  await command(here.page, { tab: 'timeline' });
  await command(here.page, { command: 'critical_path' });
  await until(here.page, 'the critical path', (s) => s.timeline.critical, CHANGE_SECONDS);
  await here.screenshot('story-04-critical-path');
  await command(here.page, { command: 'critical_path' });
  here.noErrors();
});

test('an advice is applied and the step is faster', { timeout: 300_000 }, async () => {
  const earlier = await stateOf(here.page);
  await command(here.page, { command: 'advise' });
  const found = (s) => s.advice.running === false && s.advice.found > 0;
  await until(here.page, 'advice', found, EXECUTE_SECONDS);
  await here.screenshot('story-05-advice');
  await command(here.page, { command: 'apply_advice' });
  const state = await changed('the advised step', earlier);
  assert.ok(state.step_time_ns < earlier.step_time_ns, `${state.step_time_ns} of ${earlier.step_time_ns}`);
  here.noErrors();
});

test('a link opens the same step in another page, and the work is there after a reload', async () => {
  const earlier = await stateOf(here.page);
  await command(here.page, { tab: 'network' });
  await command(here.page, { command: 'share' });
  const { link } = await until(here.page, 'a link', (s) => s.link, CHANGE_SECONDS);
  const other = await openPage(here.browser);
  await other.page.goto(link);
  const same = (s) => s.ready && s.step_time_ns === earlier.step_time_ns;
  assert.equal((await until(other.page, 'the step of the link', same, CHANGE_SECONDS)).screen, 'network');
  // The work is kept every two seconds. Without the link in its address the page opens what was kept.
  const elsewhere = await stateOf(other.page);
  await command(other.page, { tab: 'summary' });
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await other.page.goto('about:blank');
  await other.page.goto(here.server.url);
  const kept = (s) => s.ready && s.step_time_ns === elsewhere.step_time_ns && s.screen === 'summary';
  await until(other.page, 'the work of before', kept, CHANGE_SECONDS);
  assert.deepEqual(other.errors, []);
  await other.page.close();
  here.noErrors();
});

test('what lies at an address is opened, and rubbish there is said to be none', async () => {
  const other = await openPage(here.browser);
  const scenario = 'name = "of an address"\n[model]\npreset = "gpt2-124m"\n[cluster]\ndevice = "a100-80gb-sxm"\n[strategy]\nglobal_batch = 8\n';
  await other.page.route('**/shared.toml', (route) => route.fulfill({ body: scenario }));
  await other.page.goto(`${here.server.url}#url=${encodeURIComponent(`${here.server.url}shared.toml`)}`);
  const opened = (s) => s.ready && s.scenario === 'of an address';
  await until(other.page, 'the scenario of the address', opened, CHANGE_SECONDS);
  await other.page.close();
  const wrong = await openPage(here.browser);
  await wrong.page.goto(`${here.server.url}#url=${encodeURIComponent(`${here.server.url}nothing.toml`)}`);
  const told = (s) => s.ready && s.toast?.includes('404');
  assert.equal((await until(wrong.page, 'a sentence', told, CHANGE_SECONDS)).preset, DEFAULT_PRESET);
  await wrong.page.close();
});

test('everything can be exported', async () => {
  await command(here.page, 'keep_exports');
  const commands = [
    'save_scenario', 'export_json', 'export_csv', 'export_memory', 'export_perfetto', 'export_graph', 'export_png',
    'export_svg', 'export_page',
  ];
  for (const name of commands) await command(here.page, { command: name });
  const all = (s) => s.exports?.length === commands.length;
  const { exports } = await until(here.page, 'all exports', all, CHANGE_SECONDS);
  for (const [name, bytes] of exports) assert.ok(bytes > 400, `${name} has ${bytes} bytes`);
  for (const end of ['.png', '.svg', '.html', '.json.gz', '.toml', '.dot']) {
    assert.ok(exports.some(([name]) => name.endsWith(end)), `expected a ${end} among ${exports}`);
  }
  here.noErrors();
});

test('a trace of a profiler is compared with the step', async () => {
  const slice = (name, stream, ts, dur) =>
    ({ ph: 'X', cat: 'kernel', name, pid: 0, tid: stream, ts, dur, args: { device: 0, stream } });
  const traceEvents = Array.from({ length: 300 }, (_, n) => [
    slice('sm90_xmma_gemm_bf16', 7, n * 100, 70),
    slice('ncclDevKernel_AllReduce_Sum_bf16', 20, n * 100 + 50, 40),
  ]).flat();
  const text = JSON.stringify({ distributedInfo: { rank: 0 }, traceEvents });
  await command(here.page, { drop: { name: 'rank0.pt.trace.json', text } });
  await until(here.page, 'the slices of the trace', (s) => s.traces.slices === 600, CHANGE_SECONDS);
  await here.screenshot('story-06-trace');
  here.noErrors();
});

test('twenty steps are executed on WebGPU and compared with the prediction', { timeout: 900_000 }, async () => {
  await command(here.page, { preset: 'tiny-llama-1' });
  await until(here.page, 'a small model', (s) => s.ready && s.preset === 'tiny-llama-1', CHANGE_SECONDS);
  await command(here.page, { tab: 'execute' });
  const losses = await execute(here.page, STEPS, 'wgpu', EXECUTE_SECONDS);
  assert.ok(losses.at(-1) < losses[0], `the loss falls: ${losses}`);
  await here.screenshot('story-07-executed');
  await command(here.page, { tab: 'compare' });
  await command(here.page, 'predict');
  const compared = (s) => s.compare.running === false && s.compare.ratio > 0;
  const { compare } = await until(here.page, 'prediction beside execution', compared, EXECUTE_SECONDS);
  assert.ok(Number.isFinite(compare.ratio));
  await here.screenshot('story-08-predicted');
  here.noErrors();
});

test('rubbish of every kind is refused with a sentence, and the open work stays', async () => {
  const earlier = await stateOf(here.page);
  const cases = {
    'a.pt.trace.json': '{"traceEvents": [{"ph": "X", "ts": "never", "dur": []}]}',
    'b.pt.trace.json': '{"traceEvents": [{"ph": 7',
    'c.toml': '[strategy]\ntensor_parallel = -1',
    'd.csv': '',
    'e.log': 'nothing of interest',
    'f.sqlite': 'SQLite format 3\u0000 and nothing else',
  };
  for (const [name, text] of Object.entries(cases)) {
    await command(here.page, { drop: { name, text } });
    const state = await until(here.page, `a sentence about ${name}`, (s) => s.toast?.includes(name), CHANGE_SECONDS);
    assert.ok(state.toast.length > name.length + 20, state.toast);
  }
  const { step_time_ns, scenario } = await stateOf(here.page);
  assert.deepEqual({ step_time_ns, scenario }, { step_time_ns: earlier.step_time_ns, scenario: earlier.scenario });
});
