import type { Peer, ProtectedResourceRequest } from '@holdfast/core';

/** The address that tests trust. */
export const EDGE = '10.1.2.3';

export interface ViewSetup {
  /** Field lines, in order. */
  readonly fields?: readonly (readonly string[])[];
  readonly peer?: Peer;
  /** The certificate of the TLS connection from the peer to us. */
  readonly der?: Uint8Array;
  readonly platform?: unknown;
}

/** A request as a source of certificates sees it. */
export function viewOf({ fields = [], peer = { kind: 'ip', address: EDGE }, der, platform }: ViewSetup): ProtectedResourceRequest {
  return {
    method: 'GET',
    target: '/',
    fieldLines: (name) => fields.flatMap(([field = '', value = '']) => (field.toLowerCase() === name ? [value] : [])),
    connection: { peer, peerCertificate: () => der, platform },
  };
}
