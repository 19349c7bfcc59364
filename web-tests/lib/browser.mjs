// Starts the system's Chromium with WebGPU on the software adapter.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

const WITH_WEBGPU = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan',
  '--use-angle=vulkan',
  '--use-vulkan=swiftshader',
  '--use-webgpu-adapter=swiftshader',
];

/** WebGL on the CPU, and no WebGPU at all. */
export const WITHOUT_WEBGPU = ['--disable-features=WebGPU', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];

const executable = () => {
  const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(delimiter)];
  const usual = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = [process.env.CHROMIUM, ...usual].find((path) => path && existsSync(path));
  if (!found) throw new Error('expected Chromium on the PATH or in the variable CHROMIUM; run: cargo xtask setup test');
  return found;
};

export const launch = (flags = WITH_WEBGPU) =>
  chromium.launch({ executablePath: executable(), args: ['--no-sandbox', ...flags] });

/** Opens a page that remembers every error of its console. */
export const openPage = async (browser, context = {}) => {
  const usual = { viewport: { width: 1400, height: 880 }, locale: 'en-GB', colorScheme: 'dark' };
  const page = await browser.newPage({ ...usual, ...context });
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
  return { page, errors };
};

/** How many different colours a PNG has: a blank picture has one. */
export const coloursOf = async (browser, png) => {
  const page = await browser.newPage();
  try {
    return await page.evaluate(async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      const { data: pixels } = context.getImageData(0, 0, image.width, image.height);
      return new Set(new Uint32Array(pixels.buffer)).size;
    }, png.toString('base64'));
  } finally {
    await page.close();
  }
};
