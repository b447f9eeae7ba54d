// npm run demo:browser: runs the page in Chromium and prints what it shows. --open leaves it to you, --screenshot makes the picture anew.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { printAnswers, printVerdict, style } from '@holdfast/example-main-job/report';
import type { Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { findChromium, INSTALL_CHROMIUM, openBrowser, runBrowser } from './browser.ts';

const SCREENSHOT = fileURLToPath(new URL('../screenshot.png', import.meta.url));

const { values } = parseArgs({
  options: { open: { type: 'boolean' }, screenshot: { type: 'boolean' }, chromium: { type: 'string' } },
});
const chromium = values.chromium ?? findChromium();

console.log(
  style('dim', 'Starting an authorization server (oidc-provider, which prints warnings of its own), an API, a page and a thief …'),
);
if (values.open) {
  await openBrowser(chromium, Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]));
} else if (chromium === undefined) {
  console.error(
    `Chromium is in none of the usual places. Install it (${INSTALL_CHROMIUM}), or say where it is: --chromium=/path/to/chromium`,
  );
  process.exitCode = 1;
} else {
  await run(chromium);
}

/** The same picture, encoded for size: text on plain colours takes the least without filters. */
function compact(png: Buffer): Buffer {
  return PNG.sync.write(PNG.sync.read(png), { colorType: 2, filterType: 0, deflateLevel: 9, deflateStrategy: 0 });
}

async function run(executablePath: string): Promise<void> {
  const takePicture = async (page: Page): Promise<void> => writeFileSync(SCREENSHOT, compact(await page.screenshot({ fullPage: true })));
  const steps = await runBrowser(executablePath, values.screenshot ? { after: takePicture } : {});
  console.log(`\n ${style('bold', 'Holdfast: a DPoP-bound token of a page in a browser, and what a thief can do with it')}`);
  const answers = steps.map(({ heading, title, expected, answer, challenges, reason, note }) => ({
    heading,
    step: '',
    title,
    expected,
    answer,
    challenges: challenges === '' ? [] : challenges.split(/, (?=(?:Bearer|DPoP) )/),
    reason: reason ?? note,
  }));
  printAnswers(answers);
  printVerdict(answers);
}
