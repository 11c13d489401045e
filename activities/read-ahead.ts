/**
 * The items of a source, of which the next is already under way when one is taken, and the first at once. Whoever does not take them to the end has to `return`
 * them, as `for await` does: what is under way then is not waited for, and ends by itself.
 */
export function readAhead<Item>(source: AsyncGenerator<Item>): ReadAhead<Item> {
  const ask = () => {
    const asked = source.next();
    // Awaited when its turn comes, if it does; until then a failure must not count as unhandled.
    asked.catch(() => {});
    return asked;
  };
  let next = ask();
  return {
    async next() {
      const result = await next;
      // At its end a source says so as often as it is asked.
      next = ask();
      return result;
    },
    async return() {
      source.return(undefined).catch(() => {});
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

export type ReadAhead<Item> = Required<Pick<AsyncIterableIterator<Item, undefined>, "next" | "return" | typeof Symbol.asyncIterator>>;
