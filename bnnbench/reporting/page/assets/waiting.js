// A page without results asks the server every few seconds whether there is another one, and loads it.

const HELD = document.querySelector("meta[name=bnnbench-state]").content;

setInterval(async () => {
  try {
    const { state } = await (await fetch("state", { cache: "no-store" })).json();
    if (state !== HELD) location.reload();
  } catch { /* the server is away; it may come back */ }
}, 2000);
