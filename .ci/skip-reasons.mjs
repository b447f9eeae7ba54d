// A vitest reporter: puts the reason that a test gave for being skipped, `context.skip(reason)`, where the JSON report shows it.
export default class SkipReasons {
  onTestCaseResult(test) {
    const { state, note } = test.result();
    if (state === 'skipped' && note !== undefined) test.meta().skipReason = note;
  }
}
