// What becomes of the page and its work when a device is lost, or has no memory left.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command, execute, until } from './lib/app.mjs';
import { visit } from './lib/visit.mjs';

/** Software WebGPU on a shared machine is slow; these are limits, not expectations. */
const CHANGE_SECONDS = 60;
const EXECUTE_SECONDS = 300;

/** The name under which the engine opens devices; the app draws on another. */
const ENGINE = 'shardlab';

/** Remembers every device that the page opens. */
const remember = () => {
  window.devices = [];
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await request.call(this, descriptor);
    window.devices.push({ label: descriptor?.label ?? '', device });
    return device;
  };
};

const here = visit({ script: remember });

/** Destroys the newest device that the engine opened, or the one that draws. */
const lose = (ofEngine) =>
  here.page.evaluate(
    ([name, wanted]) => window.devices.findLast(({ label }) => (label === name) === wanted).device.destroy(),
    [ENGINE, ofEngine],
  );

/** Trains until there is a checkpoint, and goes on. */
const train = async () => {
  await command(here.page, 'cancel');
  await until(here.page, 'no run', ({ execute: run }) => !run.running && !run.error, CHANGE_SECONDS);
  await command(here.page, { execute: { steps: 100_000, backend: 'wgpu' } });
  const going = ({ execute: run }) => run.error || (run.checkpoint > 0 && run.steps.at(-1).step > run.checkpoint);
  const { execute: run } = await until(here.page, 'a checkpoint', going, EXECUTE_SECONDS);
  assert.equal(run.error, null);
};

test('a run whose device is lost keeps its checkpoint, and goes on from it on another device', { timeout: 900_000 }, async () => {
  await until(here.page, 'the default run', (s) => s.ready && s.step_time_ns > 0, CHANGE_SECONDS);
  await here.page.keyboard.press('Escape');
  await command(here.page, { preset: 'tiny-llama-1' });
  await until(here.page, 'the preset', (s) => s.ready && s.scenario === 'tiny-llama-1', CHANGE_SECONDS);
  await command(here.page, { tab: 'execute' });
  await train();
  await lose(true);
  const { execute: lost } = await until(here.page, 'an end', ({ execute: run }) => !run.running, CHANGE_SECONDS);
  assert.match(lost.error, /the device was lost: /);
  assert.ok(lost.checkpoint > 0);
  await here.screenshot('device-lost');
  await command(here.page, 'go_on');
  const further = ({ execute: run }) => !run.error && run.steps.at(-1)?.step > lost.steps.at(-1).step;
  const { execute: again } = await until(here.page, 'further steps', further, EXECUTE_SECONDS);
  const steps = again.steps.map(({ step }) => step);
  assert.deepEqual(steps, steps.map((_, place) => place + 1), 'what came after the checkpoint was trained again');
  await command(here.page, 'cancel');
});

test('a run for which there is no memory ends with what to do, and the next one runs', { timeout: 900_000 }, async () => {
  await train();
  await here.page.evaluate((name) => {
    const error = new GPUOutOfMemoryError('not a byte is left');
    const event = new GPUUncapturedErrorEvent('uncapturederror', { error, cancelable: true });
    window.devices.findLast(({ label }) => label === name).device.dispatchEvent(event);
  }, ENGINE);
  const { execute: run } = await until(here.page, 'an end', ({ execute: run }) => !run.running, CHANGE_SECONDS);
  assert.match(run.error, /too little memory left: /);
  assert.ok(run.checkpoint > 0);
  await command(here.page, 'cancel');
  await until(here.page, 'no run', (s) => !s.execute.error, CHANGE_SECONDS);
  assert.equal((await execute(here.page, 2, 'wgpu', EXECUTE_SECONDS)).length, 2);
});

test('kernels are measured before training where that is wanted, and the page stays alive', { timeout: 900_000 }, async () => {
  await command(here.page, 'cancel');
  await until(here.page, 'no run', (s) => !s.execute.error, CHANGE_SECONDS);
  await command(here.page, { tune: true });
  await execute(here.page, 2, 'wgpu', EXECUTE_SECONDS);
  const { tuned_shapes: shapes } = await until(here.page, 'measured shapes', (s) => s.tuned_shapes.length > 0, CHANGE_SECONDS);
  for (const kernel of ['matmul ', 'attention ', 'attention_grad_q ', 'attention_grad_kv ', 'rms_norm ', 'sum_exp ']) {
    assert.ok(shapes.some((shape) => shape.startsWith(kernel)), `${kernel}of ${shapes.join(', ')}`);
  }
  await here.screenshot('tuned');
  await command(here.page, { tune: false });
  here.noErrors();
});

test('where the device that draws is lost, the page says so, and the work is there after it is loaded again', async () => {
  await command(here.page, { preset: 'tiny-llama-interleaved-pp2' });
  await until(here.page, 'the preset', (s) => s.ready && s.scenario === 'tiny-llama-interleaved-pp2', CHANGE_SECONDS);
  // What is open is kept every two seconds.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await lose(false);
  const cover = here.page.locator('#cover[data-failure="display"]');
  await cover.waitFor({ state: 'visible', timeout: CHANGE_SECONDS * 1000 });
  assert.match(await cover.innerText(), /What is open is kept/);
  await here.screenshot('display-lost');
  await here.page.locator('#again').click();
  await until(here.page, 'the work of before', (s) => s.ready && s.scenario === 'tiny-llama-interleaved-pp2', CHANGE_SECONDS);
});
