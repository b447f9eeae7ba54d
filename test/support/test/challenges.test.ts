import { describe, expect, test } from 'vitest';
import { parseChallenges } from '../src/challenges.ts';

const bearer = (parameters: Record<string, string>) => ({ scheme: 'Bearer', parameters });

describe('parseChallenges reads', () => {
  test.each([
    ['a scheme alone', 'Bearer', [bearer({})]],
    ['a quoted-string', 'Bearer realm="rs"', [bearer({ realm: 'rs' })]],
    ['an empty quoted-string', 'Bearer realm=""', [bearer({ realm: '' })]],
    ['a token', 'Bearer error=invalid_token', [bearer({ error: 'invalid_token' })]],
    ['escapes', String.raw`Bearer realm="a \"b\" \\ \c"`, [bearer({ realm: String.raw`a "b" \ c` })]],
    ['a comma, an equals sign and a scheme inside quotes', 'Bearer realm="a, DPoP b=c"', [bearer({ realm: 'a, DPoP b=c' })]],
    ['obs-text', 'Bearer realm="\xe9"', [bearer({ realm: '\xe9' })]],
    ['a name that objects know', 'Bearer __proto__="x"', [bearer(Object.fromEntries([['__proto__', 'x']]))]],
    [
      'several challenges on a line',
      'Bearer realm="rs", error="invalid_token",DPoP algs="ES256 PS256" \t,\t Basic',
      [
        bearer({ realm: 'rs', error: 'invalid_token' }),
        { scheme: 'DPoP', parameters: { algs: 'ES256 PS256' } },
        { scheme: 'Basic', parameters: {} },
      ],
    ],
  ])('%s', (_, line, challenges) => {
    expect(parseChallenges([line])).toEqual(challenges);
  });

  test('several lines as it reads them joined', () => {
    const lines = ['Bearer realm="rs", scope="a b"', 'DPoP algs="ES256", error="use_dpop_nonce"'];
    expect(parseChallenges(lines)).toEqual(parseChallenges([lines.join(', ')]));
    expect(parseChallenges(lines)).toHaveLength(2);
  });

  test('no line as no challenge', () => {
    expect(parseChallenges([])).toEqual([]);
  });
});

describe('parseChallenges throws on', () => {
  test.each([
    ['an empty line', ''],
    ['an empty list element', 'Bearer realm="a",, error="b"'],
    ['a comma at the end', 'Bearer realm="a",'],
    ['a comma at the beginning', ', Bearer realm="a"'],
    ['a space after the scheme and nothing else', 'Bearer '],
    ['a space at the end', 'Bearer realm="a" '],
    ['a space before the equals sign', 'Bearer realm ="a"'],
    ['a space after the equals sign', 'Bearer realm= "a"'],
    ['no value', 'Bearer error='],
    ['no comma', 'Bearer realm="a" error="b"'],
    ['a tab after the scheme', 'Bearer\trealm="a"'],
    ['an unclosed quoted-string', 'Bearer realm="a'],
    ['an unescaped quote', 'Bearer realm="a"b"'],
    ['an escape of nothing', 'Bearer realm="a\\'],
    ['a line break', 'Bearer realm="a\r\nSet-Cookie: b"'],
    ['a control character', 'Bearer realm="\x7f"'],
    ['a character that no field can carry', 'Bearer realm="\u20ac"'],
    ['a token with a separator', 'Bearer error=a/b'],
    ['a token68', 'Bearer dG9rZW4='],
    ['a realm that is not quoted (RFC 9110 §11.5)', 'Bearer realm=rs'],
    ['a parameter twice (ERR-10)', 'Bearer error="a", error="b"'],
    ['a parameter twice in other case', 'Bearer error="a", ERROR="b"'],
  ])('%s', (_, line) => {
    expect(() => parseChallenges([line])).toThrow(SyntaxError);
  });

  test('a parameter whose scheme stands on the line before', () => {
    expect(() => parseChallenges(['Bearer realm="a"', 'error="b"'])).toThrow(SyntaxError);
  });
});
