/** Requests that replace each other: one is under way, and of those that come meanwhile only the newest is next. */

/** @param {(value) => Promise<void>} work  its errors are its own  @returns {(value) => void} */
export function newest(work) {
  let wanted = null;
  let busy = false;
  const run = async () => {
    busy = true;
    while (wanted) {
      const { value } = wanted;
      wanted = null;
      await work(value);
    }
    busy = false;
  };
  const ask = (value) => {
    wanted = { value };
    if (!busy) run();
  };
  ask.drop = () => {
    wanted = null;
  };
  return ask;
}

/** Calls `work` once nothing has come for `wait` ms, with the newest arguments. */
export function settled(work, wait) {
  let timer = 0;
  const call = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), wait);
  };
  call.cancel = () => clearTimeout(timer);
  return call;
}
