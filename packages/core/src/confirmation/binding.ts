import type { AuthenticatedToken } from '../access-token/authenticated-token.ts';
import { isRejection, reject, type Rejection, type Scheme } from '../rejection.ts';
import type { Confirmation, ConfirmationMethod } from './method.ts';

/** What has to be confirmed of one token: each method with the thumbprint it has to find, and the scheme such a token comes with. */
export interface Binding {
  readonly scheme: Scheme;
  /** Empty only where the resource accepts tokens without `cnf`. */
  readonly required: readonly { readonly method: ConfirmationMethod; readonly thumbprint: string }[];
  /** What is confirmed when all of them are. */
  readonly confirmations: readonly Confirmation[];
}

/** A token that is bound to nobody. */
export const UNBOUND: Binding = { scheme: 'Bearer', required: [], confirmations: Object.freeze([]) };

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const HEX_THUMBPRINT = /^(?:[0-9a-f]{64}|[0-9a-f]{2}(?::[0-9a-f]{2}){31})$/i;

/** What all that is said of a token asks for together: of two statements about the binding, the stricter stands. */
export function readBinding({ statements, binding }: AuthenticatedToken, methods: readonly ConfirmationMethod[]): Binding | Rejection {
  const required: { readonly method: ConfirmationMethod; readonly thumbprint: string }[] = [];
  for (const statement of statements) {
    const asked = readStatement(statement, methods, binding.topLevel);
    if (isRejection(asked)) return asked;
    for (const one of asked) {
      if (!required.some(({ method, thumbprint }) => method === one.method && thumbprint === one.thumbprint)) required.push(one);
    }
  }
  if (required.length === 0) {
    return binding.unconstrained === 'accept' ? UNBOUND : reject('cnf.absent');
  }
  // With a DPoP key it is a DPoP token, whatever else it is bound to.
  const scheme = required.some(({ method }) => method.scheme === 'DPoP') ? 'DPoP' : 'Bearer';
  // What costs little comes first.
  required.sort((one, other) => methods.indexOf(one.method) - methods.indexOf(other.method));
  const confirmations = required.map(({ method: { member }, thumbprint }) => Object.freeze({ member, thumbprint }));
  return { scheme, required, confirmations: Object.freeze(confirmations) };
}

/** What one statement asks for; nothing, only where it says nothing of a binding. */
function readStatement(
  claims: Readonly<Record<string, unknown>>,
  methods: readonly ConfirmationMethod[],
  topLevel: readonly string[],
): { readonly method: ConfirmationMethod; readonly thumbprint: string }[] | Rejection {
  const outside = ['x5t#S256', 'jkt'].filter((member) => member in claims);
  // Read as unbound they would be bearer tokens; some servers write them there (Janssen).
  if (outside.some((member) => !topLevel.includes(member))) return reject('cnf.top_level');
  const { cnf } = claims;
  if (callsItselfDpop(claims) && !(isObject(cnf) && Object.hasOwn(cnf, 'jkt'))) return reject('cnf.presented_as_dpop');
  if ('cnf' in claims && !isObject(cnf)) return reject('cnf.malformed', { detail: 'cnf is no object' });
  const inside = isObject(cnf) ? methods.filter(({ member }) => Object.hasOwn(cnf, member)) : [];
  if ('cnf' in claims && inside.length === 0) return reject('cnf.not_understood');
  const required: { readonly method: ConfirmationMethod; readonly thumbprint: string }[] = [];
  for (const method of methods) {
    const thumbprints = [
      ...(isObject(cnf) && inside.includes(method) ? [cnf[method.member]] : []),
      ...(outside.includes(method.member) ? [claims[method.member]] : []),
    ];
    for (const thumbprint of new Set(thumbprints)) {
      if (typeof thumbprint !== 'string' || !THUMBPRINT.test(thumbprint)) {
        const isHex = typeof thumbprint === 'string' && HEX_THUMBPRINT.test(thumbprint);
        return reject(isHex ? 'cnf.hex_thumbprint' : 'cnf.malformed', { detail: method.member });
      }
      required.push({ method, thumbprint });
    }
  }
  return required;
}

/** `token_type` of an introspection response (RFC 9449 §6.2), or of a server that writes it into the token. */
function callsItselfDpop({ token_type: type }: Readonly<Record<string, unknown>>): boolean {
  return typeof type === 'string' && type.toLowerCase() === 'dpop';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
