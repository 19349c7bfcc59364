// A visit: the built page on a server of its own, in a browser, from the first test of a file to its last.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before } from 'node:test';
import { launch, openPage } from './browser.mjs';
import { serve } from './server.mjs';

const DIST = new URL('../../dist/', import.meta.url).pathname;
const OUT = new URL('../out/', import.meta.url).pathname;

/**
 * Opens the page before the first test and closes it after the last.
 * @param {{flags?: string[], context?: object, script?: () => void}} options Flags of the browser, what the page's context
 *   is like, and what runs in the page before the app.
 */
export const visit = ({ flags, context, script } = {}) => {
  const here = {
    /** Keeps a picture in out/. */
    screenshot: async (name) => {
      const png = await here.page.screenshot();
      await writeFile(`${OUT}${name}.png`, png);
      return png;
    },
    noErrors: () => assert.deepEqual(here.errors, [], 'expected no error on the console'),
  };
  before(async () => {
    await mkdir(OUT, { recursive: true });
    here.server = await serve(DIST);
    here.browser = await launch(flags);
    Object.assign(here, await openPage(here.browser, context));
    if (script) await here.page.addInitScript(script);
    await here.page.goto(here.server.url);
  });
  after(async () => {
    await here.browser?.close();
    await here.server?.close();
  });
  return here;
};
