// Walks through the page in a real Chromium. Arguments: the page's URL, the
// write token, the read token, the URL of the simulated tenant's controls, and a
// folder for pictures ("" for none). One line for each fault; exit code 1 if any.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_PATH, "x.js"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const [url, writeToken, readToken, zuora, pictures] = process.argv.slice(2);

let faults = 0;
const fault = (where, what) => { faults++; console.log(`${where}: ${what}`); };
const must = (where, ok, what) => { if (!ok) fault(where, what); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const open = async (name, options = {}, token = writeToken) => {
  const context = await browser.newContext({ httpCredentials: { username: "ann", password: token, origin: url }, viewport: { width: 1280, height: 800 }, bypassCSP: false, ...options });
  context.setDefaultTimeout(10000);
  const page = await context.newPage();
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) fault(name, `console: ${m.text()}`); });
  page.on("pageerror", (e) => fault(name, `script: ${e.message}`));
  page.on("request", (r) => { if (!r.url().startsWith(url) && !r.url().startsWith("data:")) fault(name, `asks another host: ${r.url()}`); });
  return { page, close: () => context.close() };
};
const api = async (method, to, body) => {
  const r = await fetch(url + to, { method, headers: { Authorization: "Bearer " + writeToken, "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  if (!r.ok) throw new Error(`${method} ${to}: ${r.status} ${await r.text()}`);
  return r.status === 204 ? null : r.json();
};
const start = async (job) => {
  const r = await fetch(zuora + "/_sim/jobs", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(job) });
  return (await r.text()).match(/[0-9a-f-]{36}/g);
};

// What the other steps look at: jobs that have ended, one that runs, and one whose texts are markup.
const nasty = `SELECT '<script>document.title="owned"</script><img src=x onerror=alert(1)>' FROM "a&b"`;
const [bad] = await start({ run_time: "200ms", query: nasty, outcome: "failed", error: `</code><script>alert(1)</script> "quoted"` });
const [fine] = await start({ run_time: "200ms" });
const [running] = await start({ run_time: "10m", query: nasty });
await api("POST", "/v1/jobs", { jobs: [bad, fine, running].map((id) => ({ id, labels: { team: "finance" } })) });
for (const id of [bad, fine]) await api("GET", `/v1/jobs/${id}/wait?timeout=20s`);
let deliveries = [];
for (let i = 0; i < 100 && !deliveries.some((d) => d.state === "delivered"); i++) {
  deliveries = (await api("GET", "/v1/deliveries")).deliveries;
  await new Promise((go) => setTimeout(go, 100));
}
const views = ["/", "/?state=finished", `/jobs/${running}`, `/jobs/${fine}`, `/jobs/${bad}`, "/deliveries", `/deliveries/${deliveries[0].id}`, "/destinations", "/budget", "/trends", "/jobs/nothing", "/?state=finished&label=team%3Dnobody"];

// Every view: light, dark, on a phone; without faults, and for everybody.
for (const [look, options] of Object.entries({
  light: { colorScheme: "light" }, dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 } },
})) {
  const { page, close } = await open(look, options);
  for (const view of views) {
    const where = `${look} ${view}`;
    const refused = view === "/jobs/nothing";
    page.removeAllListeners("console");
    page.on("console", (m) => { if (["error", "warning"].includes(m.type()) && !refused) fault(where, `console: ${m.text()}`); });
    await page.goto(url + view);
    must(where, (await page.locator("h1").count()) === 1, "has not one heading");
    must(where, (await page.title()).endsWith("· jobwatcher"), `has the title ${await page.title()}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    must(where, wide <= 0, `is ${wide} pixels wider than the window`);
    // axe is run in the page's own world, past its policy, which lets nothing in.
    const world = await page.context().newCDPSession(page);
    await world.send("Page.setBypassCSP", { enabled: true });
    await page.reload();
    await page.addScriptTag({ path: axe });
    const found = await page.evaluate(() => axe.run());
    for (const v of found.violations) fault(where, `axe: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).slice(0, 2).join(" ")}`);
    await world.send("Page.setBypassCSP", { enabled: false });
  }
  await close();
}

// News arrive by themselves, and are said to who cannot see them.
{
  const { page, close } = await open("live");
  await page.goto(url + "/");
  await page.locator("#live.on").waitFor();
  await page.evaluate(() => { window.same = true; });
  const [id] = await start({ run_time: "3s" });
  await api("PUT", `/v1/jobs/${id}`, {});
  await page.locator(`#job-${id}`).waitFor().catch(() => fault("live", "a new job does not appear"));
  await page.locator(`#job-${id}`).waitFor({ state: "detached", timeout: 20000 }).catch(() => fault("live", "a job that has ended does not go"));
  must("live", (await page.locator("#news").textContent()).includes(id.slice(0, 8)), "the end is not said");
  must("live", await page.evaluate(() => window.same === true), "the page was loaded anew");
  const before = await page.locator("[data-since]").first().textContent();
  await page.waitForTimeout(2500);
  must("live", before !== (await page.locator("[data-since]").first().textContent()), "seconds are not counted");
  await close();
}

// Actions, by mouse and keyboard, with and without script.
for (const script of [true, false]) {
  const where = script ? "actions" : "without script";
  const { page, close } = await open(where, { javaScriptEnabled: script });
  const asked = [];
  page.on("dialog", (d) => { asked.push(d.message()); d.accept(); });
  await page.goto(url + "/");
  await page.keyboard.press("Tab");
  must(where, (await page.locator(".skip:focus").count()) === 1, "the first key does not reach the skip link");
  const [id] = await start({ run_time: "10m" });
  await page.locator("summary").click();
  await page.getByLabel("Job IDs").fill("no-id");
  await page.getByRole("button", { name: "Track" }).click();
  must(where, (await page.locator(".said.bad").textContent()).includes("no-id"), "a wrong id is not named");
  await page.getByLabel("Job IDs").fill(id);
  await page.getByLabel("Labels").last().fill("team=data run=nightly");
  await page.getByRole("button", { name: "Track" }).click();
  await page.waitForURL(`**/jobs/${id}*`);
  must(where, (await page.locator(".said.good").textContent()).includes("watched"), "tracking is not confirmed");
  must(where, (await page.locator("dl").textContent()).includes("team=data"), "the labels are not there");
  await page.getByRole("button", { name: "Look now" }).click();
  must(where, (await page.locator(".said.good").textContent()).includes("asked"), "looking now is not confirmed");
  await page.getByRole("button", { name: "Untrack" }).click();
  await page.waitForURL(new RegExp(`^${url}/(\\?.*)?$`));
  must(where, (await page.locator(`#job-${id}`).count()) === 0, "an untracked job is still there");
  await page.goto(url + "/destinations");
  await page.getByRole("button", { name: "Test webhook" }).click();
  must(where, (await page.locator(".said.good").textContent()).includes("delivered"), "the test is not confirmed");
  await page.getByRole("button", { name: "Pause webhook" }).click();
  await page.getByText("paused by operator").waitFor();
  await page.getByRole("button", { name: "Resume webhook" }).click();
  await page.getByRole("button", { name: "Pause webhook" }).waitFor();
  await page.goto(`${url}/deliveries/${deliveries[0].id}`);
  await page.getByRole("button", { name: "Replay" }).click();
  must(where, (await page.locator(".said.good").textContent()).includes("due again"), "the replay is not confirmed");
  must(where, asked.length === (script ? 3 : 0), `asked back ${asked.length} times`);
  await close();
}

// A reader sees everything and is offered nothing; nobody sees nothing.
{
  const { page, close } = await open("reader", {}, readToken);
  for (const view of views.slice(0, 8)) {
    await page.goto(url + view);
    must("reader " + view, (await page.locator("form[method=post]").count()) === 0, "is offered an action");
  }
  await close();
  const refused = await fetch(url + "/");
  must("nobody", refused.status === 401 && refused.headers.get("www-authenticate").startsWith("Basic") && !(await refused.text()).includes(fine), "is answered");
}

if (pictures) {
  const more = (await Promise.all([
    start({ count: 4, run_time: "800ms" }), start({ count: 3, run_time: "2s" }), start({ run_time: "1s", outcome: "cancelled" }), start({ run_time: "1500ms", rows: 0 }),
    start({ run_time: "1s", outcome: "failed", error: "Column 'amont' cannot be resolved" }),
  ])).flat();
  await api("POST", "/v1/jobs", { jobs: more.map((id, i) => ({ id, labels: { team: ["finance", "data"][i % 2], run: "nightly" } })) });
  for (const id of more) await api("GET", `/v1/jobs/${id}/wait?timeout=20s`);
  await new Promise((go) => setTimeout(go, 1000));
  for (const [name, view, colorScheme] of [["jobs", "/?state=finished&label=run%3Dnightly", "light"], ["job", `/jobs/${fine}`, "dark"]]) {
    const { page, close } = await open("pictures", { colorScheme, viewport: { width: 1100, height: 620 } });
    await page.goto(url + view);
    await page.waitForTimeout(500);
    await page.screenshot({ path: path.join(pictures, `${name}.png`) });
    await close();
  }
  // The terminal: what the command line prints about the same jobs.
  const { execFileSync } = require("node:child_process");
  const shell = (...args) => "$ jobwatcher " + args.join(" ") + "\n" + execFileSync(process.env.JOBWATCHER, args, {
    encoding: "utf8", env: { ...process.env, JOBWATCHER_TEST_MAIN: "1", JOBWATCHER_SERVER: url, JOBWATCHER_API_TOKEN: writeToken },
  });
  const text = [shell("list", "--limit", "6"), shell("explain", running), shell("show", fine)].join("\n");
  const terminal = await browser.newPage({ viewport: { width: 1100, height: 620 } });
  await terminal.setContent(`<body style="margin:0;background:#10151b"><pre style="color:#e8edf2;font:13px/1.5 'DejaVu Sans Mono',monospace;padding:18px;white-space:pre-wrap"></pre>`);
  await terminal.locator("pre").evaluate((e, t) => { e.textContent = t; }, text);
  await terminal.screenshot({ path: path.join(pictures, "terminal.png") });
}
await browser.close();
process.exit(faults ? 1 : 0);
