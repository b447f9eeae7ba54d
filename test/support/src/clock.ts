/** A clock that moves only when told, in epoch seconds. */
export interface Clock {
  readonly now: () => number;
  set(seconds: number): void;
  advance(seconds: number): void;
}

/** A {@link Clock} that stands at `at`; hand `clock.now` to whatever takes a clock. */
export function createClock(at = 1_800_000_000): Clock {
  let time = at;
  return {
    now: () => time,
    set: (seconds) => {
      time = seconds;
    },
    advance: (seconds) => {
      time += seconds;
    },
  };
}
