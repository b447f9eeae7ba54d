import { type Browser, startChromium, trusting } from './chromium.ts';
import { startScene } from './scene.ts';

/** Serves the page until it is to end, in a window of its own where there is a Chromium and a screen. */
export async function openBrowser(executablePath: string | undefined, end: Promise<unknown>): Promise<void> {
  const scene = await startScene();
  const { url, spki } = scene;
  const flags = trusting(spki).map((flag) => `'${flag}'`);
  console.log(`
 The page is at ${url} until you press Ctrl-C.
 Its certificate, which the API, the authorization server and the thief share, was made for this run. A browser with a
 profile of its own that accepts this one key, and reaches nothing but this machine:

 ${executablePath ?? 'chromium'} --user-data-dir="$(mktemp -d)" ${flags.join(' ')} ${url}
`);
  const browser = executablePath === undefined ? undefined : await openWindow(executablePath, spki);
  await browser?.context.pages()[0]?.goto(url);
  await end;
  await browser?.close();
  await scene.close();
}

async function openWindow(executablePath: string, spki: string): Promise<Browser | undefined> {
  try {
    return await startChromium(executablePath, spki, false);
  } catch {
    console.log(' No window could be opened here.\n');
    return undefined;
  }
}
