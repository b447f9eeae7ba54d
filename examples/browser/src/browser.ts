import type { Page } from 'playwright-core';
import { startChromium } from './chromium.ts';
import { startScene } from './scene.ts';

export { findChromium, INSTALL_CHROMIUM } from './chromium.ts';
export { openBrowser } from './open-browser.ts';

/** One step of the page, what it should lead to, and what came of it. */
export interface Step {
  readonly id: string;
  readonly heading: string;
  readonly title: string;
  readonly expected: string;
  /** A status code, or the name of an error, or another word where there was no request. */
  readonly answer: string;
  /** WWW-Authenticate in full, its lines joined as a script gets them. */
  readonly challenges: string;
  /** Why Holdfast refused, from its event. */
  readonly reason: string | undefined;
  readonly note: string | undefined;
}

/** What may be done with the page besides. */
export interface Looks {
  /** Before it is opened. */
  readonly before?: (page: Page) => void;
  /** When it has finished, before the browser ends. */
  readonly after?: (page: Page) => Promise<void>;
}

/**
 * Runs the page in a headless Chromium from sign-in to theft, as a person would: it presses the buttons of the page and fills
 * in the forms of the authorization server. Rejects with the page's own error where there is one.
 */
export async function runBrowser(executablePath: string, { before, after }: Looks = {}): Promise<readonly Step[]> {
  const scene = await startScene();
  try {
    const browser = await startChromium(executablePath, scene.spki);
    try {
      const page = await browser.context.newPage();
      before?.(page);
      const failure = new Promise<never>((_resolve, reject) => {
        page.once('pageerror', reject);
      });
      await Promise.race([play(page, scene.url), failure]);
      await after?.(page);
      return await stepsOf(page);
    } finally {
      await browser.close();
    }
  } finally {
    await scene.close();
  }
}

async function play(page: Page, url: string): Promise<void> {
  page.setDefaultTimeout(20_000);
  const button = (name: string): ReturnType<Page['locator']> => page.getByRole('button', { name });
  await page.goto(url);
  await button('Sign in').click();
  await page.locator('[name=login]').fill('alice');
  await page.locator('[name=password]').fill('any');
  await button('Sign-in').click();
  await button('Continue').click();
  await button('Reload the page').click();
  await button('Let the token be stolen').click();
  await button('Start again').waitFor();
}

/** What the page knows: its steps, and what came of each. */
interface Known {
  readonly groups: readonly { readonly heading: string; readonly steps: readonly Pick<Step, 'id' | 'title' | 'expected'>[] }[];
  readonly outcomes: Readonly<Record<string, Partial<Step>>>;
}

const KNOWN = "import('/steps.js').then(({ GROUPS }) => ({ groups: GROUPS, outcomes: JSON.parse(sessionStorage.getItem('outcomes')) }))";

async function stepsOf(page: Page): Promise<Step[]> {
  const { groups, outcomes } = await page.evaluate<Known>(KNOWN);
  return groups.flatMap(({ heading, steps }) =>
    steps.map(({ id, title, expected }) => {
      const { answer = 'nothing', challenges = '', reason, note } = outcomes[id] ?? {};
      return { id, heading, title, expected, answer, challenges, reason, note };
    }),
  );
}
