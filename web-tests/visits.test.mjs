// What is there again on the next visit, what a finger does, and a file that is too large for a page.
import assert from 'node:assert/strict';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { command, execute, stateOf, until } from './lib/app.mjs';
import { visit } from './lib/visit.mjs';

const here = visit({ context: { hasTouch: true } });

/** Software WebGPU on a shared machine is slow; these are limits, not expectations. */
const CHANGE_SECONDS = 60;
const EXECUTE_SECONDS = 300;
const FRAME_MILLISECONDS = 60;
const TWO_GIGABYTES = 2 ** 31;
/** Where the timeline is on a page of this size. */
const TIMELINE = { x: 700, y: 300 };

test('the default run is there', async () => {
  await until(here.page, 'the default run', (s) => s.ready && s.step_time_ns > 0, CHANGE_SECONDS);
  await here.page.keyboard.press('Escape');
  await until(here.page, 'no tour', (s) => s.tour === null, CHANGE_SECONDS);
});

/** Touches, and leaves the page the time for a frame: fingers are slower than frames. */
const touch = async (client, type, points) => {
  await client.send('Input.dispatchTouchEvent', { type, touchPoints: points });
  await new Promise((resolve) => setTimeout(resolve, FRAME_MILLISECONDS));
};

test('two fingers zoom the timeline, one moves it', async () => {
  await command(here.page, { tab: 'timeline' });
  const { timeline: whole } = await until(here.page, 'the timeline', (s) => s.timeline.shown > 0, CHANGE_SECONDS);
  const client = await here.page.context().newCDPSession(here.page);
  const apart = (distance) => [
    { x: TIMELINE.x - distance, y: TIMELINE.y, id: 1 },
    { x: TIMELINE.x + distance, y: TIMELINE.y, id: 2 },
  ];
  await touch(client, 'touchStart', apart(40));
  for (let distance = 50; distance <= 160; distance += 10) await touch(client, 'touchMove', apart(distance));
  await touch(client, 'touchEnd', []);
  const nearer = ({ timeline }) => timeline.shown < whole.shown * 0.6;
  const { timeline } = await until(here.page, 'a nearer view', nearer, CHANGE_SECONDS);
  assert.ok(timeline.shown > whole.shown * 0.05, `${timeline.shown} of ${whole.shown}`);
  await here.screenshot('touch-zoomed');
  await touch(client, 'touchStart', [{ x: 600, y: TIMELINE.y, id: 3 }]);
  for (let x = 620; x <= 800; x += 20) await touch(client, 'touchMove', [{ x, y: TIMELINE.y, id: 3 }]);
  await touch(client, 'touchEnd', []);
  const moved = (s) => s.timeline.from < timeline.from && s.timeline.area === null;
  await until(here.page, 'an earlier part of the time', moved, CHANGE_SECONDS);
  await here.screenshot('touch-moved');
  here.noErrors();
});

test('a finger opens a view', async () => {
  await here.page.touchscreen.tap(440, 38);
  const { screen } = await until(here.page, 'another view', (s) => s.screen !== 'timeline', CHANGE_SECONDS);
  assert.equal(screen, 'memory');
  here.noErrors();
});

test('runs that were executed and imported are pinned again on the next visit', { timeout: 400_000 }, async () => {
  await command(here.page, { preset: 'tiny-llama-1' });
  await until(here.page, 'a small model', (s) => s.ready && s.preset === 'tiny-llama-1', CHANGE_SECONDS);
  await execute(here.page, 2, 'cpu', EXECUTE_SECONDS);
  await command(here.page, 'look');
  await until(here.page, 'the executed step', (s) => s.shown === 'executed', CHANGE_SECONDS);
  await command(here.page, { command: 'pin_baseline' });
  const slice = (n) => ({ ph: 'X', cat: 'kernel', name: 'gemm', pid: 0, tid: 7, ts: n * 9, dur: 8, args: { device: 0, stream: 7 } });
  const text = JSON.stringify({ traceEvents: Array.from({ length: 500 }, (_, n) => slice(n)) });
  await command(here.page, { drop: { name: 'measured.pt.trace.json', text } });
  await until(here.page, 'the trace', (s) => s.screen === 'traces' && s.traces.slices === 500, CHANGE_SECONDS);
  await command(here.page, { command: 'pin_variant' });
  const kept = (s) => s.compare.pinned.length === 2 && s.compare.kept === 2;
  const before = await until(here.page, 'two runs that are kept', kept, CHANGE_SECONDS);
  // The work that is open is kept every two seconds.
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await here.page.reload();
  const back = (s) => s.ready && s.compare.pinned.length === 2;
  const { compare } = await until(here.page, 'the runs of before', back, CHANGE_SECONDS);
  assert.deepEqual(compare.pinned, before.compare.pinned);
  assert.deepEqual(compare.origins, ['executed', 'imported']);
  await command(here.page, { tab: 'compare' });
  await here.screenshot('pinned-again');
  here.noErrors();
});

test('a file of two gigabytes is refused with a sentence, and what is open stays', async () => {
  const earlier = await stateOf(here.page);
  const folder = await mkdtemp(join(tmpdir(), 'shardlab-'));
  const path = join(folder, 'huge.pt.trace.json');
  const file = await open(path, 'w');
  await file.truncate(TWO_GIGABYTES);
  await file.close();
  try {
    const client = await here.page.context().newCDPSession(here.page);
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await client.send('Input.dispatchDragEvent', { type, ...TIMELINE, data });
    }
    const told = (s) => s.toast?.includes('huge.pt.trace.json');
    const state = await until(here.page, 'a sentence about the file', told, CHANGE_SECONDS);
    assert.match(state.toast, /256 MiB/);
    assert.equal(state.step_time_ns, earlier.step_time_ns);
    await here.screenshot('two-gigabytes');
    here.noErrors();
  } finally {
    await rm(folder, { recursive: true });
  }
});
