#include "runtime/watch/page.hpp"

#include "runtime/report/style_sheet.hpp"
#include "runtime/watch/groups.hpp"

#include <nlohmann/json.hpp>

namespace millrace::watch {
namespace {

constexpr std::string_view own_style = R"(
body { margin: 1rem auto; }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
.scroll { overflow-x: auto; }
.scroll img { display: block; background: #fff; }
.answers { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); gap: .8rem; }
.answer { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .6rem; min-width: 0; }
.answer p { margin-bottom: .2rem; }
.answer span { white-space: nowrap; margin-left: .6em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; font-size: .85rem; max-height: 20rem;
  overflow-y: auto; }
.prompt { border-left: 3px solid var(--line); padding-left: .6rem; }
.state { font-size: .9rem; font-weight: normal; border: 1px solid var(--line); border-radius: 4px; padding: 0 .4em; }
.bad, .failed { color: #d2593c; }
.log { font: .85rem ui-monospace, monospace; padding-left: 1rem; overflow-wrap: anywhere; }
.roles td:nth-child(2), .roles th:nth-child(2) { text-align: left; }
#head p { white-space: pre-wrap; }
#ledger td:nth-child(n + 2) { white-space: nowrap; }
.roles td:nth-child(n + 3) { white-space: nowrap; }
@media (max-width: 600px) {
  body { padding: 0 .8rem; }
  table { font-size: .75rem; }
  td, th { padding-right: .35rem; }
  .tick, .name { font-size: 14px; }
}
#link { position: fixed; right: .6rem; bottom: .4rem; font-size: .8rem; color: var(--soft); }
)";

constexpr std::string_view script = R"(
"use strict";
const link = document.getElementById("link");
link.textContent = "connecting";
const events = new EventSource("events");
events.onopen = () => { link.textContent = "live"; };
events.onerror = () => { link.textContent = "not connected"; };
events.addEventListener("section", event => {
  const part = JSON.parse(event.data);
  const place = document.getElementById(part.id);
  if (!place || part.id === "groups" && document.getElementById("hold").checked) return;
  if (part.id === "graph") { // the old picture stays until the new one is there
    const old = place.querySelector("img"), made = document.createElement("template");
    made.innerHTML = part.html;
    const next = made.content.querySelector("img");
    if (old && next) { old.src = next.getAttribute("src"); return; }
  }
  place.innerHTML = part.html;
});
)";

} // namespace

std::string page(const std::vector<section>& parts, std::string_view nonce) {
  std::string html = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                     "<link rel=\"icon\" href=\"data:,\"><title>Millrace</title>\n<style>"
                     + report::style_sheet() + std::string(own_style) + token_style() + "</style></head><body>\n";
  for (const auto& part : parts)
    html += "<section>" + (part.title.empty() ? "" : "<h2>" + part.title + "</h2>") + part.tools + "<div id=\""
            + part.id + "\">" + part.html + "</div></section>\n";
  return html + "<div id=\"link\"></div><script nonce=\"" + std::string(nonce) + "\">" + std::string(script)
         + "</script></body></html>\n";
}

std::string event_of(const section& part) {
  const nlohmann::json data{{"id", part.id}, {"html", part.html}};
  return "event: section\ndata: " + data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n\n";
}

} // namespace millrace::watch
