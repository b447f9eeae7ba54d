import type { BindingRules } from '../access-token/authenticated-token.ts';
import type { KeyOrigin } from '../access-token/issuer-keys.ts';
import { type ProviderName, PROVIDERS } from '../access-token/providers.ts';
import { STANDARD, type TokenShape } from '../access-token/shape.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import { type Check, isObject, stringsIn } from '../check.ts';
import { type FetchedKeys, type GivenJwks, type GivenPem, readKeyOrigin } from './keys.ts';
import { type IntrospectionOfIssuer, type IntrospectionSettings, readIntrospection } from './introspection.ts';
import type { Demands } from './profiles.ts';

/** What may differ from issuer to issuer. With one issuer it stands among the options of the resource. */
export interface TokenOptions {
  /** `alg` values of access tokens. By default ES, PS and RS with 256, 384 and 512 bits, EdDSA and Ed25519. */
  readonly algorithms?: readonly string[];
  /**
   * The product that the issuer runs, where its access tokens differ from RFC 9068: what `typ` they have, where scopes and binding
   * stand, how they are told from ID tokens. By default RFC 9068.
   */
  readonly provider?: ProviderName;
  /**
   * Where a provider's tokens, or its answers to introspection, name no resource (`aud`): the clients whose tokens are for this one. Such
   * a token must show that it is an access token, by what `provider` says of it, or by `token_type` or the like in the answer: else 401
   * `invalid_token`.
   */
  readonly clientIds?: readonly string[];
  /** What becomes of a token without `cnf`, which anybody can use who has it: 401 `invalid_token` by default. */
  readonly unconstrained?: 'refuse' | 'accept';
  /** Keys that are given, or how fetched ones are kept. */
  readonly keys?: GivenJwks | GivenPem | FetchedKeys;
  /** Ask the issuer about tokens: those that are no JWT, or all. Without it, tokens that are no JWT are refused. */
  readonly introspection?: IntrospectionSettings;
}

/** One of several issuers. What it leaves out of `audience`, `algorithms` and `unconstrained` is as for the resource. */
export interface IssuerOptions extends TokenOptions {
  /** The issuer identifier, character by character as in its tokens (`iss`). */
  readonly issuer: string;
  /** What `aud` of its tokens must contain. */
  readonly audience?: string | readonly string[];
}

/** An issuer, checked and complete. */
export interface IssuerSettings {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  readonly shape: TokenShape;
  readonly clientIds: readonly string[];
  readonly binding: BindingRules;
  readonly keys: KeyOrigin;
  readonly introspection: IntrospectionOfIssuer | undefined;
}

/** `alg` values of access tokens that are accepted by default; there are no others to choose from. */
export const ALGORITHMS: readonly string[] = [
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
  'EdDSA',
  'Ed25519',
];

export const TOKEN_OPTION_NAMES: Record<keyof TokenOptions, true> = {
  algorithms: true,
  provider: true,
  clientIds: true,
  unconstrained: true,
  keys: true,
  introspection: true,
};

const ISSUER_OPTION_NAMES: Record<keyof IssuerOptions, true> = { issuer: true, audience: true, ...TOKEN_OPTION_NAMES };

/** What one issuer has for itself, and no other may share. */
const OWN: readonly (keyof TokenOptions)[] = ['provider', 'clientIds', 'keys', 'introspection'];

type Given = Readonly<Record<string, unknown>>;

/** The issuers: one among the options, or a list of several. */
export function readIssuers(check: Check, o: Given, audience: readonly string[], demands: Demands): readonly IssuerSettings[] {
  const { issuer } = o;
  if (!Array.isArray(issuer)) return [readOne(check, o, '', audience, demands)];
  if (issuer.length === 0)
    check.wrong('issuer', issuer, "Give an https URL, as 'https://as.example.com', or a list of issuers with one at least");
  for (const name of OWN) {
    if (o[name] !== undefined) check.wrongKind(name, o[name], 'With several issuers it belongs to one of them: issuer: [{ issuer, … }]');
  }
  const list = issuer.map((one: unknown, index) => {
    const at = `issuer[${index}]`;
    const given = typeof one === 'string' ? { issuer: one } : check.object(at, one, ISSUER_OPTION_NAMES);
    const { audience: other, ...own }: Given = given;
    const resources = other === undefined ? audience : readAudience(check, `${at}.audience`, other);
    return readOne(check, { algorithms: o['algorithms'], unconstrained: o['unconstrained'], ...own }, `${at}.`, resources, demands);
  });
  if (list.filter(({ introspection }) => introspection !== undefined).length > 1 && o['issuerFor'] === undefined) {
    check.wrong(
      'issuerFor',
      undefined,
      'Several issuers are asked about tokens, and nothing in such a token says whose it is: say it for each request',
    );
  }
  const names = list.map((one) => one.issuer);
  for (const name of new Set(names.filter((one, index) => one !== '' && names.indexOf(one) !== index))) {
    check.wrong('issuer', name, 'It is there twice. Name each issuer once');
  }
  return list;
}

function readOne(check: Check, o: Given, at: string, audience: readonly string[], demands: Demands): IssuerSettings {
  const shape = readShape(check, o['provider'], at, demands);
  const allowed = ALGORITHMS.filter(demands.allows);
  return {
    issuer: readIssuer(check, `${at}issuer`, o['issuer']),
    audience,
    algorithms: check.list(`${at}algorithms`, o['algorithms'], allowed, allowed),
    shape,
    clientIds: readClientIds(check, `${at}clientIds`, o['clientIds'], shape, o['introspection'] !== undefined),
    binding: {
      unconstrained: check.oneOf(`${at}unconstrained`, o['unconstrained'], demands.boundTokens ? ['refuse'] : ['refuse', 'accept']),
      topLevel: shape.topLevel,
    },
    keys: readKeyOrigin(check, o['keys'], at),
    introspection: readIntrospection(check, `${at}introspection`, o['introspection']),
  };
}

export function readIssuer(check: Check, option: string, value: unknown): string {
  const isIssuer = typeof value === 'string' && isSecureUrl(value) && !/[?#]/.test(value);
  if (isIssuer) return value;
  const fix =
    "Give the authorization server's issuer identifier, an https URL without user, query and fragment (http only on the loopback interface), as 'https://as.example.com'";
  if (isObject(value)) check.wrongKind(option, value, `${fix}; or a list of several issuers`);
  else check.wrong(option, value, fix);
  return '';
}

export function readAudience(check: Check, option: string, value: unknown): readonly string[] {
  const list = stringsIn(value);
  if (list !== undefined && list.length > 0 && !list.includes('')) return list;
  check.wrong(
    option,
    value,
    "Say which resource tokens must be for (aud), as 'https://api.example.com'; accepting tokens for any resource is not possible",
  );
  return [''];
}

/** The shape of the provider's tokens, and what profiles demand besides: of both, the strictest. */
function readShape(check: Check, value: unknown, at: string, demands: Demands): TokenShape {
  const names = Object.keys(PROVIDERS);
  if (value !== undefined && !isProvider(value))
    check.wrong(`${at}provider`, value, `Give one of ${names.join(', ')}, or leave it out for RFC 9068`);
  const shape: TokenShape = isProvider(value) ? PROVIDERS[value] : STANDARD;
  const types = shape.types.filter(demands.allowsType);
  if (types.length === 0 || (demands.audience && shape.audience !== 'aud')) {
    check.wrong(
      `${at}provider`,
      value,
      'Its tokens cannot be what profiles asks for: typ at+jwt, or a resource in aud. Leave one of them out',
    );
  }
  return { ...shape, types, claims: [...shape.claims, ...demands.claims] };
}

function readClientIds(check: Check, option: string, value: unknown, { audience }: TokenShape, isAsked: boolean): readonly string[] {
  if (value === undefined) {
    if (audience === 'client')
      check.wrong(option, value, 'Tokens of this provider name no resource (aud): list the clients whose tokens are for this API');
    return [];
  }
  const list = Array.isArray(value) ? stringsIn(value) : undefined;
  if (list === undefined || list.length === 0 || list.includes('')) {
    check.wrong(option, value, 'Give a list of client identifiers');
    return [];
  }
  if (audience === 'aud' && !isAsked) check.wrong(option, value, 'Leave it out: the tokens of this issuer name the resource (aud)');
  return list;
}

export function isProvider(value: unknown): value is ProviderName {
  return typeof value === 'string' && Object.hasOwn(PROVIDERS, value);
}
