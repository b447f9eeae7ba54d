import { isRejection } from '@holdfast/core';
import { normaliseTargetUri, PROOF_ALGORITHMS, PROOF_WINDOW, readProofKey } from '@holdfast/core/diagnosis';
import { about, type Finding } from '../findings.ts';
import { quoted } from '../visible.ts';
import { thumbprintOf } from './binding-findings.ts';
import { isMembers, type Members } from './decode.ts';
import type { Material } from './material.ts';
import { isDate, span } from './time-findings.ts';
import type { Verdict } from './verdict.ts';

const say = about('DPoP proof');

/** What is wrong with the proof (RFC 9449 §4.3); each by itself, whatever else is wrong. */
export function proofFindings(material: Material, verdict: Verdict): readonly Finding[] {
  const { proof } = material;
  if (proof === undefined) return [];
  const { kind, header, claims } = proof.decoded;
  if (kind !== 'jws' || header === undefined || claims === undefined)
    return [say('wrong', 'It is no JWT: three segments of base64url, header and claims JSON objects (§4.3 (2)).')];
  return [
    ...headerFindings(header, material),
    ...requestFindings(claims, material),
    ...claimFindings(claims, material),
    ...signatureFindings(verdict),
  ];
}

function headerFindings({ typ, alg, jwk }: Members, { decoded }: Material): Finding[] {
  const findings: Finding[] = [];
  if (!(typeof typ === 'string' && /^(?:application\/)?dpop\+jwt$/i.test(typ)))
    findings.push(say('wrong', `typ is ${quoted(typ)}, and has to be dpop+jwt (§4.3 (4)).`));
  if (typeof alg !== 'string' || !PROOF_ALGORITHMS.includes(alg)) {
    const hint = alg === 'RS256' ? " A resource can add it: dpop: { algorithms: […, 'RS256'] }." : '';
    return [...findings, say('wrong', `alg is ${quoted(alg)}; accepted are ${PROOF_ALGORITHMS.join(', ')} (§4.3 (5)).${hint}`)];
  }
  const key = readProofKey(alg, jwk);
  if (isRejection(key)) {
    return [
      ...findings,
      key.rejected === 'dpop.private_key'
        ? say('wrong', 'Its jwk holds the private key (§4.3 (7)): everybody who saw this proof can make others. Replace the key.')
        : say('wrong', `Its jwk is no public key for ${alg}: ${key.detail ?? ''}.`),
    ];
  }
  const { cnf } = decoded.claims ?? {};
  const bound = isMembers(cnf) ? cnf['jkt'] : undefined;
  if (bound === undefined) findings.push(say('note', `Its key has the thumbprint ${key.thumbprint}.`));
  else if (bound === key.thumbprint) findings.push(say('ok', `Its key is the one that the token is bound to: jkt ${key.thumbprint}`));
  else
    findings.push(
      say(
        'wrong',
        `Its key is another than the one that the token is bound to (§4.3 (12)): expected jkt ${quoted(bound)}, found ${key.thumbprint}. A client that makes a new key needs a new token.`,
      ),
    );
  return findings;
}

function requestFindings({ htm, htu, ath }: Members, { method, url, token }: Material): Finding[] {
  const findings: Finding[] = [];
  if (method === undefined) findings.push(say('unclear', `htm is ${quoted(htm)}: not compared, give --method.`));
  else if (htm === method) findings.push(say('ok', `htm is ${quoted(htm)}, as the method.`));
  else
    findings.push(
      say(
        'wrong',
        `htm is ${quoted(htm)}, and the method is ${method} (§4.3 (8)).${typeof htm === 'string' && htm.toUpperCase() === method ? ' Methods are compared with their case.' : ''}`,
      ),
    );
  if (url === undefined) findings.push(say('unclear', `htu is ${quoted(htu)}: not compared, give --url, as clients know it.`));
  else findings.push(uriFinding(htu, url));
  findings.push(hashFinding(ath, token));
  return findings;
}

function uriFinding(htu: unknown, url: string): Finding {
  const expected = normaliseTargetUri(url);
  const found = typeof htu === 'string' ? normaliseTargetUri(htu) : undefined;
  if (found === undefined || expected === undefined)
    return say('wrong', `htu is ${quoted(htu)}, and has to be an absolute http(s) URI (§4.3 (9)).`);
  if (found === expected) return say('ok', `htu is ${quoted(htu)}, as the URI.`);
  const [one, other] = [new URL(found), new URL(expected)];
  const parts = (['protocol', 'hostname', 'port', 'pathname'] as const).filter((part) => one[part] !== other[part]);
  const names = { protocol: 'the scheme', hostname: 'the host', port: 'the port', pathname: 'the path' };
  const slash = found.replace(/\/$/, '') === expected.replace(/\/$/, '') ? ', in its final slash' : '';
  return say(
    'wrong',
    `htu is ${quoted(htu)}, and the URI is ${quoted(expected)} (§4.3 (9)). They differ in ${parts.map((part) => names[part]).join(' and ')}${slash}. Behind an edge, the URI is the one that clients know: publicUrl.`,
  );
}

function hashFinding(ath: unknown, token: string): Finding {
  const expected = thumbprintOf(token);
  if (ath === expected) return say('ok', 'ath is the hash of the token.');
  if (ath === undefined) return say('wrong', 'There is no ath: with an access token, a proof has to name it (§4.2).');
  const octets = Buffer.from(expected, 'base64url');
  const mistakes: readonly (readonly [unknown, string])[] = [
    [octets.toString('hex'), 'in hexadecimal'],
    [octets.toString('base64'), 'in base64, with padding or with + and /'],
    [Buffer.from(octets.toString('hex')).toString('base64url'), 'in base64url of hexadecimal'],
    [thumbprintOf(`${token}\n`), 'of the token with a line end'],
    [thumbprintOf(`DPoP ${token}`), 'of the whole field, with the scheme'],
    [thumbprintOf(`Bearer ${token}`), 'of the whole field, with the scheme'],
  ];
  const mistake = mistakes.find(([value]) =>
    typeof ath === 'string' && typeof value === 'string' ? ath.toLowerCase() === value.toLowerCase() : false,
  );
  return mistake === undefined
    ? say('wrong', `ath is ${quoted(ath)}, and the hash of this token is ${expected} (§4.3 (12)): the proof is for another token.`)
    : say('wrong', `ath is the hash ${mistake[1]}; it has to be that of the token alone, in base64url: ${expected}`);
}

function claimFindings({ jti, iat, exp, nbf, nonce }: Members, { now }: Material): Finding[] {
  const findings: Finding[] = [];
  if (typeof jti !== 'string' || jti === '')
    findings.push(say('wrong', `jti is ${quoted(jti)}, and has to be a text, another for each proof (§4.2).`));
  const { past, future } = PROOF_WINDOW;
  if (!isDate(iat)) findings.push(say('wrong', `iat is ${quoted(iat)}, and has to be a number of seconds since 1970.`));
  else if (iat < now - past)
    findings.push(
      say(
        'wrong',
        `It was made ${span(now - iat)} ago, and ${past} s are allowed: it was kept, or the clock of the client is behind (§4.3 (11)). One that was recorded earlier is always too old here.`,
      ),
    );
  else if (iat > now + future)
    findings.push(
      say(
        'wrong',
        `It was made ${span(iat - now)} in the future, and ${future} s are allowed: the clock of the client is ahead, or this one is behind (§4.3 (11)).`,
      ),
    );
  else
    findings.push(
      say(
        'ok',
        iat > now
          ? `It was made ${span(iat - now)} in the future, by the clock of this machine; ${future} s are allowed.`
          : `It was made ${span(now - iat)} ago; ${past} s are allowed.`,
      ),
    );
  if (isDate(exp) && exp <= now) findings.push(say('wrong', `It has an exp, which was ${span(now - exp)} ago.`));
  if (isDate(nbf) && nbf > now + future) findings.push(say('wrong', `It has an nbf, which is in ${span(nbf - now)}.`));
  findings.push(
    say(
      'note',
      nonce === undefined
        ? 'It has no nonce: a resource with dpop.nonce gives one, and the client tries again.'
        : 'It has a nonce, which only the resource that gave it can judge.',
    ),
  );
  findings.push(say('note', 'Whether it was used before, only the resource knows: a proof is good once.'));
  return findings;
}

/** Reasons that are found after the signature of the proof. */
function signatureFindings({ granted, reason }: Verdict): Finding[] {
  if (granted) return [say('ok', 'The signature is by its key.')];
  return [
    reason === 'dpop.signature'
      ? say('wrong', 'The signature is not by its key (§4.3 (6)).')
      : say('note', 'Its signature was not looked at, since something else is refused before.'),
  ];
}
