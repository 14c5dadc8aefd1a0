// The page: what is typed, shown and heard.

import { hasGraphics } from "./faster.js";
import { Files } from "./files.js";
import { Player } from "./player.js";
import { Speech } from "./speech.js";
import { checkBrowser, countThreads, keepFiles } from "./start.js";
import { drawWave } from "./wave.js";

const FRAME = 100;
const $ = id => document.getElementById(id);
let about, speech, player, stopping;

function tell(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

async function begin() {
  try {
    checkBrowser();
    about = await (await fetch("site.json", { cache: "no-cache" })).json();
    await keepFiles(about.digest, () => {
      $("note").textContent = "This browser has no room to keep the voice; it speaks now, and is loaded again next time.";
    });
    player = new Player(about.config.sample_rate);
    $("about").textContent = `${about.model} speaks in this browser`;
    $("voice").replaceChildren(...about.voices.map(({ name, description }) => {
      const text = description ? `${name} – ${description.split(",")[0]}` : name;
      return new Option(text, name, name === about.default, name === about.default);
    }));
    const graphics = await hasGraphics();
    const bytes = Speech.files(about, graphics).reduce((sum, path) => sum + about.files[path].bytes, 0);
    const files = new Files(about, loaded => {
      if ($("loading").hidden) return; // something went wrong, which has been told
      $("loading").value = loaded / bytes;
      tell(`Loading ${Math.round(loaded / 1e6)} of ${Math.round(bytes / 1e6)} MB …`);
    });
    const threads = countThreads();
    speech = new Speech(about, path => files.get(path), threads, graphics);
    const device = await speech.open();
    $("threads").textContent = device === "WebGPU" ? `${threads + 1}, WebGPU` : threads + 1;
    $("loading").hidden = true;
    tell("Getting the voice ready …");
    await speech.prepare($("voice").value);
    $("go").disabled = false;
    tell("");
  } catch (error) {
    $("loading").hidden = true;
    tell(error.message, true);
  }
}

async function speak(event) {
  event.preventDefault();
  if (!speech || $("go").disabled) return;
  halt();
  player.clear();
  await player.wake();
  const mine = stopping = new AbortController(), began = performance.now();
  const seed = Number($("seed").value || Math.floor(Math.random() * 1e9)), speed = Number($("speed").value);
  $("words").replaceChildren();
  for (const id of ["first", "factor", "length", "gaps"]) $(id).textContent = "–";
  $("used").textContent = seed;
  $("go").disabled = $("again").disabled = true;
  $("stop").disabled = false;
  $("save").setAttribute("aria-disabled", "true");
  tell("Speaking …");
  try {
    for await (const { samples, text, leftOut } of speech.speak({ text: $("text").value, voice: $("voice").value, seed, speed, signal: mine.signal })) {
      mine.signal.throwIfAborted();
      if (leftOut) $("note").textContent = leftOut;
      if (!samples.length) continue;
      if (!player.samples) $("first").textContent = `${Math.round(performance.now() - began + 1000 * player.lead)} ms`;
      if (text) mark(text, player.seconds);
      player.push(samples);
      $("length").textContent = `${player.seconds.toFixed(1)} s`;
      $("gaps").textContent = player.gaps;
      $("factor").textContent = ((performance.now() - began) / 1000 / player.seconds).toFixed(2);
    }
    tell("");
  } catch (error) {
    tell(mine.signal.aborted ? "Stopped." : error.message, !mine.signal.aborted);
  }
  mine.abort(); // what is still on its way after an error
  if (mine !== stopping) return;
  stopping = null;
  $("go").disabled = false;
  $("stop").disabled = !player.sources.length;
  if (player.samples) offer();
}

function mark(text, start) {
  const span = Object.assign(document.createElement("span"), { textContent: text });
  $("words").append(span);
  player.marks.push({ span, start });
}

function offer() {
  $("again").disabled = false;
  URL.revokeObjectURL($("save").href);
  $("save").href = URL.createObjectURL(player.wav());
  $("save").removeAttribute("aria-disabled");
}

function halt() {
  stopping?.abort();
  player?.silence();
  $("stop").disabled = true;
}

async function playFrom(second) {
  if (stopping || !player?.samples) return;
  await player.from(second);
  $("stop").disabled = false;
}

function draw() {
  if (!player) return;
  drawWave($("wave"), player, stopping);
  const now = player.marks.findLast(({ start }) => start <= player.at);
  for (const { span } of player.marks) span.classList.toggle("now", span === now?.span && player.at < player.seconds);
  if (!stopping && player.sources.length && player.at > player.seconds) halt();
}

$("speak").addEventListener("submit", speak);
$("stop").addEventListener("click", halt);
$("again").addEventListener("click", () => playFrom(0));
$("wave").addEventListener("click", ({ offsetX }) => playFrom(offsetX / $("wave").clientWidth * player.seconds));
$("speed").addEventListener("input", () => { $("shown").textContent = Number($("speed").value).toFixed(1); });
$("voice").addEventListener("change", () => speech?.prepare($("voice").value).catch(error => tell(error.message, true)));
document.addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("speak").requestSubmit();
  if (event.key === "Escape") halt();
});
begin();
setInterval(draw, FRAME); // more often would take the processor from the voice
globalThis.page = { get player() { return player; }, get speech() { return speech; }, get busy() { return Boolean(stopping); } };
