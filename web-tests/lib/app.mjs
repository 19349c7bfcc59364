// Talks to the app through the state object that it sets on the page: window.shardlab.
import { setTimeout as sleep } from 'node:timers/promises';

/** What the app says about itself; null until it is there. */
export const stateOf = async (page) => {
  const text = await page.evaluate(() => window.shardlab?.state() ?? null);
  return text === null ? null : JSON.parse(text);
};

/** Queues a command, as a menu or a drop would. */
export const command = (page, words) =>
  page.evaluate((text) => window.shardlab.command(text), JSON.stringify(words));

/** Waits until the state is as wanted, or fails with the last state and what the page says. */
export const until = async (page, what, wanted, seconds) => {
  const end = Date.now() + seconds * 1000;
  let state = null;
  while (Date.now() < end) {
    state = await stateOf(page);
    if (state && wanted(state)) return state;
    await stopOnFailure(page, what);
    await sleep(200);
  }
  throw new Error(`expected ${what} within ${seconds} s; last state: ${JSON.stringify(state)}`);
};

const stopOnFailure = async (page, what) => {
  const cover = page.locator('#cover[data-failure]');
  if (await cover.count()) throw new Error(`expected ${what}, but the page says: ${await cover.innerText()}`);
};

/** Trains some steps on a backend and returns the losses. */
export const execute = async (page, steps, backend, seconds) => {
  await command(page, { execute: { steps, backend } });
  const done = ({ execute: run }) =>
    run.error || (!run.running && run.backend === backend && run.steps.length === steps);
  const { execute: run } = await until(page, `${steps} steps on ${backend}`, done, seconds);
  if (run.error) throw new Error(`expected ${steps} steps on ${backend}, but the app says: ${run.error}`);
  return run.steps.map(({ loss }) => loss);
};
