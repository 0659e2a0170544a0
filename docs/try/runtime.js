// Which of several runtimes is used: the one for which `race` gives the least time. One that fails
// is out; if all fail, so does this.
export async function chooseRuntime(candidates, race) {
  let best = null;
  let least = Infinity;
  let fault = new Error("there is nothing to choose from");
  for (const candidate of candidates) {
    try {
      const time = await race(candidate);
      if (time < least) [best, least] = [candidate, time];
    } catch (error) {
      fault = error;
    }
  }
  if (!best) throw fault;
  return best;
}
