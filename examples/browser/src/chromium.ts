import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';

/** Where Chromium, and browsers that are made of it, usually are. */
const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/microsoft-edge',
  '/snap/bin/chromium',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  String.raw`C:\Program Files\Google\Chrome\Application\chrome.exe`,
  String.raw`C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe`,
];

/** How to get one, for where there is none. */
export const INSTALL_CHROMIUM = 'sudo apt-get install chromium';

/** The path of a Chromium in one of the usual places, or `undefined`. */
export function findChromium(): string | undefined {
  return PLACES.find((path) => existsSync(path));
}

/** A Chromium with a profile that is new, and gone afterwards. */
export interface Browser {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/**
 * What a Chromium is told so that it accepts the certificate of these servers, by its public key, and of no others that it would
 * not accept anyway. No name but `localhost` is ever looked up.
 */
export function trusting(spki: string): string[] {
  return [`--ignore-certificate-errors-spki-list=${spki}`, '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'];
}

/** Starts the Chromium at `executablePath`, without a window unless asked. Works as root, where its sandbox does not. */
export async function startChromium(executablePath: string, spki: string, headless = true): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'holdfast-chromium-'));
  const remove = (): void => rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  // Also where the process ends before the browser is closed.
  process.once('exit', remove);
  const forget = (): void => {
    process.off('exit', remove);
    remove();
  };
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath,
      headless,
      handleSIGINT: headless,
      handleSIGTERM: headless,
      chromiumSandbox: process.getuid?.() !== 0,
      viewport: headless ? { width: 1280, height: 800 } : null,
      args: [
        ...trusting(spki),
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return {
      context,
      async close() {
        await context.close();
        forget();
      },
    };
  } catch (error) {
    forget();
    throw error;
  }
}
