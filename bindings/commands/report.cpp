// See report.hpp.
#include "bindings/commands/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/bytes.hpp"
#include "planner/lines.hpp"

namespace peri::commands {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --line: #8884; --regular: #4c78a8; --comm: #e45756; --fallback: #f2a83b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: .3rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } tr + tr { border-top: 1px solid var(--line); }
.figures { columns: 3 16rem; } .figures div { display: flex; justify-content: space-between; break-inside: avoid;
  border-bottom: 1px solid var(--line); margin-right: 1.5rem; }
pre { overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; border: 1px solid var(--line); padding: .8rem; }
svg { width: 100%; height: auto; font: 11px ui-monospace, monospace; } svg text { fill: currentColor; }
.regular { fill: var(--regular); } .comm { fill: var(--comm); } .fallback { fill: var(--fallback); }
.eager { fill: #8883; } .legend span { margin-right: 1.2rem; } .legend i { display: inline-block; width: .8em; height: .8em; }
)";

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text) switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  return result;
}

const char* class_of(planner::BufferKind kind) {
  switch (kind) {
    case planner::BufferKind::comm:
      return "comm";
    case planner::BufferKind::fallback:
      return "fallback";
    case planner::BufferKind::regular:
    case planner::BufferKind::input:
    case planner::BufferKind::constant:
      return "regular";
  }
  return "";
}

// A buffer's stay in a storage, in lines of the plan.
struct Stay {
  BufferId buffer;
  size_t storage, first, last;
};

std::vector<Stay> stays_of(const planner::Plan& plan, size_t& storages) {
  std::vector<Stay> stays;
  Store<BufferId, size_t> current(plan.buffers.size(), SIZE_MAX);  // the buffer's stay
  storages = 0;
  auto begin = [&](BufferId id, size_t storage, size_t line) {
    current[id] = stays.size();
    stays.push_back({id, storage, line, plan.lines.size()});
  };
  for (size_t i = 0; i < plan.lines.size(); ++i) {
    const planner::LineEffects line = effects(plan.lines[i].line);
    if (const auto* reuse = std::get_if<planner::ReuseLine>(&plan.lines[i].line)) {
      Stay& from = stays[current[reuse->from]];
      from.last = i;
      begin(reuse->buffer, from.storage, i);
      continue;
    }
    for (BufferId id : line.gives) begin(id, storages++, i);
    for (BufferId id : line.frees) stays[current[id]].last = i + 1;
  }
  return stays;
}

// One row per storage, time to the right: a rectangle is a buffer, grey bands are lines that are not
// captured.
std::string memory_chart(const planner::Plan& plan, const std::vector<cudagraph::Partition>& partitions) {
  size_t storages = 0;
  const std::vector<Stay> stays = stays_of(plan, storages);
  if (stays.empty()) return "<p>The plan allocates nothing.</p>";
  constexpr double kLeft = 130, kWidth = 1000, kRow = 22;
  const double step = (kWidth - kLeft) / static_cast<double>(std::max<size_t>(plan.lines.size(), 1));
  const double height = kRow * static_cast<double>(storages) + 4;
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"memory over the plan's lines\">\n",
                  kWidth, height);
  for (const cudagraph::Partition& p : partitions)
    if (!p.captured)
      svg += fmt::format(
          "<rect class=\"eager\" x=\"{:.1f}\" y=\"0\" width=\"{:.1f}\" height=\"{}\"><title>not captured: "
          "{}</title></rect>\n",
          kLeft + step * p.first, step * (p.last - p.first), height, escaped(p.reason));
  std::vector<bool> labelled(storages, false);
  for (const Stay& s : stays) {
    const planner::Buffer& buffer = plan.buffer(s.buffer);
    const double x = kLeft + step * static_cast<double>(s.first),
                 y = kRow * static_cast<double>(s.storage) + 2;
    const double width = std::max(1.0, step * static_cast<double>(s.last - s.first) - 1);
    if (!labelled[s.storage]) {
      svg += fmt::format("<text x=\"0\" y=\"{:.1f}\">{} {}</text>\n", y + 14,
                         buffer.kind == planner::BufferKind::comm ? "comm" : to_string(buffer.type.place),
                         short_bytes(buffer.bytes()));
      labelled[s.storage] = true;
    }
    svg += fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"><title>{} : {}, lines "
        "{} to {}</title></rect>\n",
        class_of(buffer.kind), x, y, width, kRow - 4, buffer.name, escaped(buffer.type.to_string()),
        s.first + 1, s.last);
    if (width > 8 * static_cast<double>(buffer.name.size()))
      svg +=
          fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:#fff;pointer-events:none\">{}</text>\n",
                      x + 3, y + 13, buffer.name);
  }
  return svg +
         "</svg>\n<p class=\"legend\"><span><i style=\"background:var(--regular)\"></i> ordinary "
         "memory</span>"
         "<span><i style=\"background:var(--comm)\"></i> symmetric memory</span>"
         "<span><i style=\"background:var(--fallback)\"></i> allocated by the call itself</span>"
         "<span><i style=\"background:#8886\"></i> not captured</span></p>\n";
}

std::string figures(const std::map<std::string, double>& statistics) {
  std::string html = "<div class=\"figures\">\n";
  for (const auto& [name, value] : statistics) {
    const bool whole = value == static_cast<double>(static_cast<int64_t>(value));
    const std::string text = name.ends_with("_bytes") ? short_bytes(Bytes(static_cast<int64_t>(value)))
                             : whole                  ? fmt::format("{:.0f}", value)
                                                      : fmt::format("{:.2f}", value);
    html += fmt::format("<div><span>{}</span><b>{}</b></div>\n", name, text);
  }
  return html + "</div>\n";
}

std::string section(const ReportEntry& entry) {
  const cudagraph::Executable& executable = *entry.program->executable;
  const planner::Plan& plan = executable.plan();
  std::string html =
      fmt::format("<h2>{}</h2>\n{}", escaped(entry.title), figures(entry.program->statistics()));
  html += "<h3>Decisions</h3>\n";
  if (plan.decisions.empty())
    html += "<p>None were needed.</p>\n";
  else
    html += "<table><tr><th>what</th><th>choice</th><th>why</th></tr>\n";
  for (const planner::Decision& d : plan.decisions)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", escaped(d.subject), escaped(d.choice),
                        escaped(d.reason));
  if (!plan.decisions.empty()) html += "</table>\n";
  html += "<h3>Memory, line by line</h3>\n" + memory_chart(plan, executable.partitions());
  html += "<h3>Plan</h3>\n<pre>" + escaped(print(plan)) + "</pre>\n";
  html += "<h3>Partitions</h3>\n<pre>" + escaped(print(executable.partitions(), plan)) + "</pre>\n";
  html += "<h3>Graph</h3>\n<pre>" + escaped(print(entry.program->graph)) + "</pre>\n";
  return html;
}

}  // namespace

std::string html_report(const std::string& script, const std::vector<ReportEntry>& entries) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">\n"
      "<title>{0}</title>\n<style>{1}</style>\n<h1>What peri compiled for {0}</h1>\n",
      escaped(script), kStyle);
  if (entries.empty()) html += "<p>The script compiled nothing.</p>\n";
  for (const ReportEntry& entry : entries) html += section(entry);
  return html + "</html>\n";
}

}  // namespace peri::commands
