import { type Finding, type Outcome, printFindings, printHeading, printLines, widthOf } from '../findings.ts';
import { wrap } from '../command.ts';
import { adviceOn } from '../issuer-fetch.ts';
import { type Look, styled, type Terminal } from '../terminal.ts';
import { quoted, visible, visibleJson, withoutSecrets } from '../visible.ts';
import { bindingFindings, thumbprintOf } from './binding-findings.ts';
import type { Decoded } from './decode.ts';
import type { Material } from './material.ts';
import { proofFindings } from './proof-findings.ts';
import { tokenFindings } from './token-findings.ts';
import { judge, type Verdict } from './verdict.ts';

/** Everything that is said of a token. */
export interface Inspection {
  /** `well`: it would be accepted; `wrong`: refused; `unclear`: not all of it could be checked. */
  readonly outcome: Outcome;
  readonly material: Material;
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
}

/** Asks a resource, and explains. The verdict is the resource's alone. */
export async function inspectionOf(material: Material): Promise<Inspection> {
  const verdict = await judge(material);
  const findings = [
    ...tokenFindings(material, verdict),
    ...bindingFindings(material),
    ...proofFindings(material, verdict),
    ...issuerFindings(verdict),
  ];
  return { outcome: outcomeOf(verdict, findings), material, verdict, findings };
}

function outcomeOf({ granted, reason }: Verdict, findings: readonly Finding[]): Outcome {
  if (!granted) return reason?.startsWith('unavailable.') === true ? 'unclear' : 'wrong';
  return findings.some(({ mark }) => mark === 'unclear' || mark === 'wrong') ? 'unclear' : 'well';
}

function issuerFindings({ reason, exchanges }: Verdict): Finding[] {
  if (reason !== 'unavailable.keys') return [];
  const failed = exchanges.findLast(({ code }) => code !== undefined);
  const text = adviceOn(failed?.code) ?? 'What is wrong with the issuer, holdfast doctor says.';
  return [{ topic: 'Issuer', mark: 'unclear', text: failed === undefined ? text : `${quoted(failed.url)}: ${text}` }];
}

const LOOKS: Readonly<Record<Outcome, Look>> = { well: 'green', wrong: 'red', unclear: 'yellow' };

/** Lines of a document that are shown on a terminal, and characters of each. */
const MOST_LINES = 200;
const LONGEST_LINE = 300;

export function printInspection({ outcome, material, verdict, findings }: Inspection, terminal: Terminal): void {
  printDecoded('Header and claims', material.decoded, terminal);
  if (material.proof !== undefined) printDecoded('Header and claims of the proof', material.proof.decoded, terminal);
  printFindings(findings, terminal);
  printHeading('Verdict', terminal);
  for (const [i, sentence] of sentencesOf(outcome, verdict).entries()) {
    const text = wrap(visible(sentence), widthOf(terminal) - 2, ' ');
    terminal.out(` ${i === 0 ? styled(terminal, [LOOKS[outcome], 'bold'], text) : text}`);
  }
  terminal.out('');
}

function printDecoded(heading: string, { header, claims }: Decoded, terminal: Terminal): void {
  if (header === undefined && claims === undefined) return;
  printHeading(heading, terminal);
  const lines = [header, claims].flatMap((one) => (one === undefined ? [] : JSON.stringify(withoutSecrets(one), undefined, 2).split('\n')));
  const shown = lines
    .slice(0, MOST_LINES)
    .map((line) => (line.length <= LONGEST_LINE ? line : `${line.slice(0, LONGEST_LINE)}… (${line.length} characters)`));
  printLines(lines.length <= MOST_LINES ? shown : [...shown, `… (${lines.length} lines)`], terminal);
}

function sentencesOf(outcome: Outcome, { granted, status, error, reason, text, detail, expected, received }: Verdict): readonly string[] {
  if (granted) {
    return outcome === 'well'
      ? ['It would be accepted.']
      : ['Nothing was found that stands in its way, but not everything could be checked: ?.'];
  }
  const more = Object.entries({ detail, expected, received }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return [`It would be refused: ${[status, error].filter(Boolean).join(' ')}, ${reason ?? ''}.`, text ?? '', ...more];
}

/** The report for programs. Its shape is stable: members are added, never changed. */
export function jsonOf({ outcome, material, verdict, findings }: Inspection): string {
  const { token, decoded, scheme, certificates, proof } = material;
  const { exchanges: _, ...said } = verdict;
  return visibleJson({
    outcome,
    verdict: said,
    token: {
      kind: decoded.kind,
      characters: token.length,
      scheme,
      header: withoutSecrets(decoded.header),
      claims: withoutSecrets(decoded.claims),
    },
    certificates: certificates.map(({ certificate, place }) => ({
      place,
      thumbprint: thumbprintOf(certificate.raw),
      subject: certificate.subject,
      serialNumber: certificate.serialNumber,
      validFrom: certificate.validFrom,
      validTo: certificate.validTo,
    })),
    proof: proof && { header: withoutSecrets(proof.decoded.header), claims: withoutSecrets(proof.decoded.claims) },
    findings,
  });
}
