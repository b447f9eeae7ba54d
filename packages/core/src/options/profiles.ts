import type { Check } from '../check.ts';

/** A name in `profiles`. */
export type ProfileName = 'rfc9068' | 'fapi2' | 'mcp';

const PROFILE_NAMES: readonly ProfileName[] = ['rfc9068', 'fapi2', 'mcp'];

/** The widest window for proofs that can be configured, in seconds. */
const WIDEST_PROOF_WINDOW = { past: 3600, future: 300 };

/** What a profile asks for; what it does not name is as without it. */
interface Profile {
  readonly claims?: readonly string[];
  /** Values of `typ`. */
  readonly types?: readonly string[];
  /** Tokens must name the resource, whatever the provider does. */
  readonly audience?: true;
  readonly algorithms?: readonly string[];
  readonly window?: { readonly past: number; readonly future: number };
  readonly boundTokens?: true;
  readonly sharedReplay?: true;
  readonly knowsRevocation?: true;
}

const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  rfc9068: { claims: ['sub', 'client_id', 'iat', 'jti'], types: ['at+jwt'], audience: true },
  // FAPI 2.0 Security Profile §5.3.4, §5.4.1, §5.3.2.1
  fapi2: {
    algorithms: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
    window: { past: 60, future: 10 },
    boundTokens: true,
    sharedReplay: true,
    knowsRevocation: true,
  },
  mcp: { audience: true, window: { past: 300, future: 300 } },
};

/** What several profiles ask for together. */
export interface Demands {
  readonly claims: readonly string[];
  readonly allowsType: (typ: string) => boolean;
  readonly audience: boolean;
  readonly allows: (algorithm: string) => boolean;
  readonly window: { readonly past: number; readonly future: number };
  readonly boundTokens: boolean;
  readonly sharedReplay: boolean;
  readonly knowsRevocation: boolean;
}

/** Of several profiles, the strictest holds. */
export function demandsOf(names: readonly ProfileName[]): Demands {
  const profiles = names.map((name) => PROFILES[name]);
  return {
    claims: profiles.flatMap(({ claims = [] }) => claims),
    allowsType: (typ) => profiles.every(({ types }) => types === undefined || types.includes(typ)),
    audience: profiles.some(({ audience }) => audience),
    allows: (algorithm) => profiles.every(({ algorithms }) => algorithms === undefined || algorithms.includes(algorithm)),
    window: {
      past: Math.min(WIDEST_PROOF_WINDOW.past, ...profiles.map(({ window = WIDEST_PROOF_WINDOW }) => window.past)),
      future: Math.min(WIDEST_PROOF_WINDOW.future, ...profiles.map(({ window = WIDEST_PROOF_WINDOW }) => window.future)),
    },
    boundTokens: profiles.some(({ boundTokens }) => boundTokens),
    sharedReplay: profiles.some(({ sharedReplay }) => sharedReplay),
    knowsRevocation: profiles.some(({ knowsRevocation }) => knowsRevocation),
  };
}

export function readProfiles(check: Check, value: unknown): readonly ProfileName[] {
  const none = Array.isArray(value) && value.length === 0;
  return none ? [] : check.list('profiles', value, PROFILE_NAMES, []);
}
