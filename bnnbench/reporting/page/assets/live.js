// A page that a server gives asks it every few seconds for the state of the results: `{state, problem}`.

const ASK_MS = 4000;
const HELD = document.querySelector("meta[name=bnnbench-state]").content;
const GONE = "The server does not answer any more; these are the last results that it gave.";

const news = el("div", { id: "news", role: "status" });
document.body.append(news);

// A sentence, and a button that loads the page again: the address keeps its hash, and with it the view.
function tell(text, problem = false) {
  if (news.dataset.told === text) return;
  news.dataset.told = text;
  news.classList.toggle("problem", problem);
  fill(news, text ? [el("span", {}, text), problem ? null : el("button", { type: "button", click: () => location.reload() }, "Reload")] : []);
}

async function ask() {
  if (document.hidden) return;
  try {
    const { state, problem } = await (await fetch("state", { cache: "no-store" })).json();
    if (state !== HELD) tell("There are new results.");
    else tell(problem && `${problem} What is shown is from before.`, true);
  } catch { tell(GONE, true); }
}

async function watch() {
  await ask();
  setTimeout(watch, ASK_MS);
}

document.addEventListener("visibilitychange", ask);
watch();
