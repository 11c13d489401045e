/** The items of a source, of which the next is already under way when one is taken. */
export async function* readAhead<Item>(source: AsyncGenerator<Item>): AsyncGenerator<Item> {
  const ask = () => {
    const asked = source.next();
    // Awaited when its turn comes, if it does; until then a failure must not count as unhandled.
    asked.catch(() => {});
    return asked;
  };
  try {
    for (let next = ask(); ; ) {
      const { done, value } = await next;
      if (done) return;
      next = ask();
      yield value;
    }
  } finally {
    // Not waited for: what is under way ends by itself.
    source.return(undefined).catch(() => {});
  }
}
