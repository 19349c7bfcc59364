// Prints, as JSON, in how many milliseconds the page lowers, simulates and reports presets: medians.
// node speed.mjs PRESET...
import { until } from './lib/app.mjs';
import { launch, openPage } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const DIST = new URL('../dist/', import.meta.url).pathname;
const RUNS = 15;

const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const server = await serve(DIST);
const browser = await launch();
try {
  const { page } = await openPage(browser);
  await page.goto(server.url);
  await until(page, 'a finished default run', (state) => state.ready, 60);
  const medians = {};
  for (const preset of process.argv.slice(2)) {
    const times = [];
    for (let run = 0; run < RUNS; run += 1) {
      const time = await page.evaluate((name) => window.shardlab.measure(name), preset);
      if (typeof time !== 'number') throw new Error(`expected the name of a preset, got ${preset}`);
      times.push(time);
    }
    medians[preset] = median(times);
  }
  console.log(JSON.stringify(medians));
} finally {
  await browser.close();
  await server.close();
}
