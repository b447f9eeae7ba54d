// The titles of tests: what SECURITY.md and the table of requirements go by.
import { type Node, parseSync, Visitor } from 'oxc-parser';

/** What stands as a title in a source: of tests, and of what is around them. Not of what is skipped. */
export interface Titles {
  /** The first argument of `it(…)`, `test(…)`, `it.each(…)(…)` and the like. */
  readonly tests: readonly string[];
  /** The same of `describe`. */
  readonly groups: readonly string[];
  /** The members `title` of the rows of a table, for tests that take their titles from there (`it.each(rows)('%s', …)`). */
  readonly rows: readonly string[];
}

/** The titles in a source. Throws where it cannot be parsed. */
export function titlesIn(path: string, text: string): Titles {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} cannot be parsed`);
  const titles: { tests: string[]; groups: string[]; rows: string[] } = { tests: [], groups: [], rows: [] };
  new Visitor({
    CallExpression({ callee, arguments: [first] }) {
      const [name = '', ...more] = namesOf(callee);
      const found = name === 'it' || name === 'test' ? titles.tests : name === 'describe' ? titles.groups : undefined;
      const title = first && textOf(first);
      if (title !== undefined && !more.includes('skip') && !more.includes('todo')) found?.push(title);
    },
    Property({ key, value }) {
      const title = key.type === 'Identifier' && key.name === 'title' ? textOf(value) : undefined;
      if (title !== undefined) titles.rows.push(title);
    },
  }).visit(program);
  return titles;
}

function textOf(node: Node): string | undefined {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  return node.type === 'TemplateLiteral' ? node.quasis.map(({ value }) => value.cooked ?? '').join('…') : undefined;
}

/** `it.fails.each(table)` → it, fails, each. */
function namesOf(callee: Node): string[] {
  if (callee.type === 'Identifier') return [callee.name];
  if (callee.type === 'CallExpression') return namesOf(callee.callee);
  if (callee.type === 'TaggedTemplateExpression') return namesOf(callee.tag);
  if (callee.type === 'MemberExpression' && callee.property.type === 'Identifier') return [...namesOf(callee.object), callee.property.name];
  return [];
}
