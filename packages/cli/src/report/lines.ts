/** Characters of a line that is read; one of an event has about 500, and a logger may put the fields of a request beside it. */
const LONGEST_LINE: number = 256 * 1024;

/** The lines of a log as they arrive; `undefined` for one that is too long. At most one line is held, whatever comes. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string | undefined> {
  let decoder: TextDecoder | undefined;
  let line = '';
  let isTooLong = false;
  for await (const chunk of chunks) {
    // By the mark that stands first where it is what an old PowerShell writes.
    decoder ??= new TextDecoder(chunk[0] === 0xff && chunk[1] === 0xfe ? 'utf-16le' : 'utf-8');
    const [first = '', ...others] = decoder.decode(chunk, { stream: true }).split('\n');
    line += first;
    for (const other of others) {
      yield isTooLong || line.length > LONGEST_LINE ? undefined : line;
      line = other;
      isTooLong = false;
    }
    if (line.length > LONGEST_LINE) {
      line = '';
      isTooLong = true;
    }
  }
  line += decoder?.decode() ?? '';
  if (isTooLong || line !== '') yield isTooLong || line.length > LONGEST_LINE ? undefined : line;
}
