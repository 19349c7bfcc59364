// Prints, as JSON, what the page measures of the browser's device: `node bench.mjs SECTION...`.
import { command, until } from './lib/app.mjs';
import { launch, openPage } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const DIST = new URL('../dist/', import.meta.url).pathname;
const SECONDS = 600;

const server = await serve(DIST);
const browser = await launch();
try {
  const { page } = await openPage(browser);
  await page.goto(server.url);
  await until(page, 'a finished default run', (state) => state.ready, 60);
  await command(page, { bench: process.argv.slice(2) });
  const done = ({ bench }) => bench.error || (!bench.running && bench.figures > 0);
  const { bench } = await until(page, 'a measured device', done, SECONDS);
  if (bench.error) throw new Error(bench.error);
  console.log(JSON.stringify(bench.report, null, 1));
} finally {
  await browser.close();
  await server.close();
}
