// What all commands have in common: their help, mistakes on the command line, and files as people have them.
import { unsignedJwt } from '@holdfast/test-support/jwt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, holdfast, program, temporaryFolder } from './holdfast.ts';

const folder = temporaryFolder();
beforeAll(build, 120_000);
afterAll(() => folder.remove());

const COMMANDS = ['probe', 'doctor', 'inspect', 'providers', 'report'];

describe('the help', () => {
  it.each([[[]], [['--help']], ...COMMANDS.map((name) => [[name, '--help']])])(
    'fits a terminal of 80 columns: holdfast %j',
    async (args) => {
      const { out, err } = await holdfast(args, { columns: 80 });
      const lines = (out + err).split('\n');
      expect(lines.length).toBeGreaterThan(5);
      expect(lines.filter((line) => line.length > 80)).toEqual([]);
    },
  );

  it('names every command where none is given, and says so by the exit code', async () => {
    const [none, asked] = [await holdfast([]), await holdfast(['--help'])];
    expect([none.code, none.out, asked.code, asked.err]).toEqual([3, '', 0, '']);
    for (const name of COMMANDS) expect(asked.out).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect(none.err).toBe(asked.out);
  });
});

describe('a mistake gets one line that says how to mend it, and another that says where there is more', () => {
  it.each<[string[], string]>([
    [['doctor', '--tiemout', '3'], 'There is no option --tiemout.'],
    [['inspect', '--tokenfile', 'a'], 'There is no option --tokenfile. It is --token-file.'],
    [['inspect', '--aud', 'a'], 'There is no option --aud. It is --audience.'],
    [['report', '-x'], 'There is no option of that letter.'],
    [['doctor', '--timeout'], '--timeout: give a value. Where it begins with a dash: --timeout=<value>.'],
    [['doctor', '--ca', '--json'], '--ca: give a value. Where it begins with a dash: --ca=<value>.'],
    [['report', '--json=yes'], '--json: takes no value.'],
    [['inspect', '--token-file', '/nowhere'], '--token-file: the file cannot be read (ENOENT): there is none of that name.'],
    [['doctor', 'https://as.example.com', '--ca', '/'], '--ca: the file cannot be read (EISDIR): it is a directory.'],
    [['report', '/nowhere'], 'the log cannot be read (ENOENT): there is none of that name.'],
    [['report', '/dev/null', '/'], 'log 2 of 2 cannot be read (EISDIR): it is a directory.'],
  ])('%j', async (args, words) => {
    const [name = ''] = args;
    const { code, out, err } = await program(args);
    expect([code, out, err]).toEqual([2, '', `holdfast ${name}: ${words}\nSee: holdfast ${name} --help\n`]);
  });
});

describe('a file is read as it came to be', () => {
  const token = unsignedJwt({ typ: 'at+jwt', alg: 'ES256' }, { iss: 'https://as.example.com' });
  const event = `${JSON.stringify({ time: 1_800_000_000, outcome: 'audited', reason: 'cnf.absent', timings: { total: 1 } })}\r\n`;
  const utf16 = (text: string): Uint8Array => Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(text, 'utf16le')]);
  it.each<[string, string | Uint8Array, string | Uint8Array]>([
    ['with a line end of Windows', `${token}\r\n`, event],
    ['with the mark of UTF-8, as editors write it', `\u{feff}${token}\n`, `\u{feff}${event}`],
    ['in UTF-16, as an old PowerShell writes it', utf16(`${token}\r\n`), utf16(event)],
    ['with its scheme', `Bearer ${token}\n\n`, event],
    ['with its field', `Authorization: Bearer ${token}`, event],
  ])('%s', async (name, ofToken, ofLog) => {
    const inspected = await program(['inspect', '--json', '--token-file', folder.file(`${name} token`, ofToken)]);
    expect(inspected.err).toBe('');
    expect(JSON.parse(inspected.out)).toMatchObject({ token: { claims: { iss: 'https://as.example.com' } } });
    const summed = await program(['report', '--json', folder.file(`${name} log`, ofLog)]);
    expect(JSON.parse(summed.out)).toMatchObject({ outcomes: { audited: 1 }, otherLines: 0 });
  });

  it('and so is standard input, with the mark that a pipe of PowerShell begins with', async () => {
    const { out } = await program(['inspect', '--json'], `\u{feff}${token}\n`);
    expect(JSON.parse(out)).toMatchObject({ token: { claims: { iss: 'https://as.example.com' } } });
  });
});

describe('holdfast inspect', () => {
  it('says of a token without exp that it has none', async () => {
    const { out } = await holdfast(['inspect'], { input: unsignedJwt({ typ: 'at+jwt', alg: 'ES256' }, { iss: 'https://as.example.com' }) });
    expect(out).toContain('There is no exp');
  });
});

describe('holdfast doctor', () => {
  it('guesses no product where it has seen nothing', async () => {
    const { out, code } = await holdfast(['doctor', 'http://127.0.0.1:9']);
    expect([code, out.includes('Provider')]).toEqual([2, false]);
    expect(out.replaceAll(/\s+/g, ' ')).toContain('ECONNREFUSED. Nobody listens there.');
  });
});
