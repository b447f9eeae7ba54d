// The table on the page. Every text is set as text: what comes from a server is never markup.
import { GROUPS } from './steps.js';

/** @typedef {{ answer: string, challenges?: string | undefined, note?: string | undefined, reason?: string | undefined }} Outcome */

/**
 * Shows all steps, those to come too.
 * @param {{ issuer: string, api: string, thief: string }} config
 * @param {string} thumbprint
 * @param {Record<string, Outcome>} outcomes
 */
export function show(config, thumbprint, outcomes) {
  const parties = [
    ['Client, this page', location.host],
    ['Authorization server', new URL(config.issuer).host],
    ['Protected resource, the API', new URL(config.api).host],
    ['Thief', new URL(config.thief).host],
    ['Thumbprint of the key (jkt)', `${thumbprint.slice(0, 22)}…`],
  ];
  byId('parties').replaceChildren(...parties.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
  for (const side of /** @type {const} */ (['owner', 'thief'])) {
    const groups = GROUPS.filter((group) => group.side === side);
    byId(side).replaceChildren(
      ...groups.map(({ heading, steps }) =>
        element(
          'section',
          { className: steps.some(({ limit }) => limit) ? 'limit' : '' },
          element('h2', {}, heading),
          element('ol', {}, ...steps.map((step) => element('li', { id: step.id }, row(step, side, outcomes[step.id])))),
        ),
      ),
    );
  }

  const steps = GROUPS.flatMap((group) => group.steps);
  const done = steps.filter(({ id }) => outcomes[id] !== undefined);
  const wrong = done.filter(({ id, expected }) => outcomes[id]?.answer !== expected).length;
  const verdict = byId('verdict');
  const finished = done.length === steps.length;
  if (wrong > 0) verdict.textContent = `${wrong} of ${done.length} answers are wrong.`;
  else
    verdict.textContent = finished ? `All ${steps.length} answers are as they should be.` : `${done.length} of ${steps.length} steps done`;
  if (wrong > 0) verdict.className = 'wrong';
  else verdict.className = finished ? 'right' : '';
}

/**
 * Offers what can be done next.
 * @param {string} label
 * @param {string} hint
 * @param {() => Promise<void>} act
 */
export function offer(label, hint, act) {
  const button = /** @type {HTMLButtonElement} */ (byId('next'));
  button.textContent = label;
  byId('hint').textContent = hint;
  button.disabled = false;
  const press = () => {
    button.disabled = true;
    act().catch((/** @type {unknown} */ error) => {
      byId('hint').textContent = String(error);
      throw error;
    });
  };
  button.addEventListener('click', press, { once: true });
}

/** @param {import('./steps.js').Step} step @param {'owner' | 'thief'} side @param {Outcome} [outcome] */
function row({ title, expected, limit }, side, outcome) {
  if (outcome === undefined) {
    return element(
      'div',
      { className: 'row pending' },
      element('span', {}),
      element('div', {}, title),
      element('span', { className: 'answer' }, '·'),
    );
  }
  const { answer, challenges = '', note = '', reason = '' } = outcome;
  const right = answer === expected;
  // Fetch joins the lines of a field: a challenge begins with its scheme.
  const lines = challenges.split(/, (?=(?:Bearer|DPoP) )/).filter(Boolean);
  const parts = [
    element('span', { className: right ? `mark ${limit ? 'limit' : ''}` : 'mark wrong' }, right ? (limit ? '!' : '✓') : '✗'),
    element(
      'div',
      {},
      element('div', {}, title),
      element(
        'div',
        { className: 'under' },
        element('span', { className: lines.length > 0 ? 'said' : '' }, lines.length > 0 ? inShort(lines) : note),
        element('span', { className: 'reason' }, reason),
      ),
    ),
    element('span', { className: `answer ${kindOf(answer, side, limit)}` }, answer),
  ];
  if (lines.length === 0) return element('div', { className: 'row' }, ...parts);
  const inFull = lines.map((line) => `WWW-Authenticate: ${line}`).join('\n');
  return element(
    'details',
    {},
    element('summary', { className: 'row' }, ...parts),
    element('pre', {}, note === '' ? inFull : `${inFull}\n${note}`),
  );
}

/** The challenge that has an error, without what is the same in all. @param {string[]} lines */
function inShort(lines) {
  const withError = lines.flatMap((line) => {
    const [, scheme, error] = /^(\w+) .*?\berror=("[^"]*")/.exec(line) ?? [];
    return scheme === undefined ? [] : [`${scheme} error=${error}`];
  });
  return withError.join(', ') || lines.join(', ');
}

/** @param {string} answer @param {'owner' | 'thief'} side @param {boolean | undefined} limit */
function kindOf(answer, side, limit) {
  if (limit) return 'limit';
  if (side === 'thief' || /error/i.test(answer)) return 'refused';
  return answer.startsWith('4') ? 'challenged' : 'granted';
}

/** @param {string} name @param {Partial<HTMLElement>} properties @param {(Node | string | undefined)[]} children */
function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children.filter((child) => child !== undefined));
  return node;
}

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`The page has no #${id}.`);
  return node;
}
