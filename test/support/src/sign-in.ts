import type { ClientFetch } from './clients.ts';

const STEPS = 12;

/**
 * Plays the browser and the user through oidc-provider's development interactions: follows redirects with its cookies, posts the
 * sign-in and the consent form, and resolves with the URL that the authorization server at last redirects to on another origin.
 */
export async function signIn(fetch: ClientFetch, authorizationUrl: string | URL, login = 'user-1'): Promise<URL> {
  const { origin } = new URL(authorizationUrl);
  const cookies = new Map<string, string>();
  let url = new URL(authorizationUrl);
  let form: URLSearchParams | undefined;
  for (let step = 0; step < STEPS; step++) {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form && { method: 'POST', body: form }),
    });
    keepCookies(cookies, response);
    const location = response.headers.get('location');
    const page = await response.text();
    if (location === null) {
      ({ url, form } = fillIn(page, url, login));
    } else {
      url = new URL(location, url);
      form = undefined;
      if (url.origin !== origin) return url;
    }
  }
  throw new Error(`signIn: still at ${url.pathname} after ${STEPS} steps`);
}

function keepCookies(cookies: Map<string, string>, response: Response): void {
  for (const line of response.headers.getSetCookie()) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (value === '') cookies.delete(name);
    else cookies.set(name, value);
  }
}

function fillIn(page: string, at: URL, login: string): { url: URL; form: URLSearchParams } {
  const action = /<form[^>]* action="([^"]+)"/.exec(page)?.[1];
  const prompt = /name="prompt" value="(login|consent)"/.exec(page)?.[1];
  if (action === undefined || prompt === undefined) throw new Error(`signIn: no form at ${at.pathname}: ${page.slice(-400)}`);
  return { url: new URL(action, at), form: new URLSearchParams(prompt === 'login' ? { prompt, login, password: 'any' } : { prompt }) };
}
